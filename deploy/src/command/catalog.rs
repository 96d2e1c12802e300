//! `catalog log`, `catalog restore`, `freeze`, `unfreeze`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use headgate_registry::{release, whoami};
use serde_json::json;

use super::release::report;
use super::{CommandError, open_store};
use crate::cli::{Admin, Catalog, Freeze, Global};
use crate::output;

/// `headgate catalog ...`.
pub(crate) async fn run(global: &Global, catalog: Catalog) -> Result<ExitCode, CommandError> {
    match catalog {
        Catalog::Log { limit } => log(global, limit).await?,
        Catalog::Restore { generation, yes, why, admin } => {
            if !yes && !confirmed(&format!("make generation {generation} of the catalog today's, for every model?")) {
                eprintln!("headgate: nothing was changed; pass --yes to go on without being asked");
                return Ok(ExitCode::from(2));
            }
            restore(global, generation, &why, &admin).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `headgate freeze`.
pub(crate) async fn freeze(global: &Global, args: Freeze) -> Result<(), CommandError> {
    let frozen = release::freeze(&open_store(global).await?, &args.why, &whoami()).await?;
    output::print(global.style(), &json!({"generation": frozen.generation, "frozen": true}), || {
        "promotions are stopped; rollbacks go on; `headgate unfreeze` allows them again".to_owned()
    });
    Ok(())
}

/// `headgate unfreeze`.
pub(crate) async fn unfreeze(global: &Global) -> Result<(), CommandError> {
    let thawed = release::unfreeze(&open_store(global).await?, &whoami()).await?;
    output::print(global.style(), &json!({"generation": thawed.generation, "frozen": false}), || {
        "promotions are allowed again".to_owned()
    });
    Ok(())
}

async fn log(global: &Global, limit: usize) -> Result<(), CommandError> {
    let heads = release::log(&open_store(global).await?, limit).await?;
    output::print(global.style(), &heads, || {
        let rows = heads.iter().map(|head| {
            let frozen = if head.frozen.is_some() { "frozen" } else { "" };
            let at = head.at.strftime("%Y-%m-%d %H:%M:%S").to_string();
            vec![head.generation.to_string(), at, head.who.clone(), frozen.to_owned(), head.what.clone()]
        });
        output::table(&["GENERATION", "AT (UTC)", "WHO", "", "WHAT"], &rows.collect::<Vec<_>>())
    });
    Ok(())
}

async fn restore(global: &Global, generation: u64, why: &str, admin: &Admin) -> Result<(), CommandError> {
    let restored = release::restore(&open_store(global).await?, generation, why, &whoami()).await?;
    report(global, admin, &restored).await;
    Ok(())
}

/// Asks on a terminal; elsewhere nobody can answer, and nothing is confirmed.
fn confirmed(question: &str) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
