//! `promote`, `rollback`, `label`, `configure`: one swap of the catalog each, and a nudge to whom it concerns.

use headgate_contract::fleet::{NUDGE_PATH, Nudge};
use headgate_contract::release::Serve;
use headgate_registry::release::{self, Change, Promoted, Promotion, Settings};
use headgate_registry::whoami;
use serde::Serialize;

use super::{CommandError, open_store};
use crate::cli::{Admin, Configure, Global, Label, Promote, Rollback};
use crate::{client, output, place};

/// `headgate promote`.
pub(crate) async fn promote(global: &Global, args: Promote) -> Result<(), CommandError> {
    let store = open_store(global).await?;
    let promotion = Promotion {
        model: args.model,
        version: args.version,
        weight: args.weight,
        condition: args.condition,
        force: args.force,
        why: args.why,
    };
    let promoted = release::promote(&store, promotion, &whoami()).await?;
    report(global, &args.admin, &promoted).await;
    Ok(())
}

/// `headgate rollback`.
pub(crate) async fn rollback(global: &Global, args: Rollback) -> Result<(), CommandError> {
    let store = open_store(global).await?;
    let promoted = release::rollback(&store, &args.model, &args.why, &whoami()).await?;
    report(global, &args.admin, &promoted).await;
    Ok(())
}

/// `headgate label`.
pub(crate) async fn label(global: &Global, args: Label) -> Result<(), CommandError> {
    let store = open_store(global).await?;
    let promoted = release::label(&store, &args.model, &args.label, args.version, &whoami()).await?;
    report(global, &args.admin, &promoted).await;
    Ok(())
}

/// `headgate configure`.
pub(crate) async fn configure(global: &Global, args: Configure) -> Result<(), CommandError> {
    let store = open_store(global).await?;
    let settings = Settings {
        keep: args.keep,
        sticky: args.sticky.map(|header| (header != "none").then_some(header)),
        strict: args.strict,
        fallback: match args.fallback.as_deref() {
            None => None,
            Some("none") => Some(None),
            Some(model) => {
                Some(Some(model.parse().map_err(|e| release::ReleaseError::Invalid(format!("--fallback: {e}")))?))
            }
        },
    };
    let promoted = release::configure(&store, &args.model, settings, &whoami()).await?;
    report(global, &args.admin, &promoted).await;
    Ok(())
}

/// What a change of the catalog prints as JSON.
#[derive(Serialize)]
struct Report<'a> {
    generation: u64,
    changed: bool,
    nudged: bool,
    models: Vec<Model<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    model: &'a str,
    before: &'a [Serve],
    after: &'a [Serve],
}

/// Nudges the gateway, where one is known, and prints what changed.
pub(crate) async fn report(global: &Global, admin: &Admin, promoted: &Promoted) {
    let nudged = promoted.changed && nudge(admin, &promoted.store_id, promoted.generation).await;
    let models = promoted.changes.iter().map(|c| Model { model: c.model.as_str(), before: &c.before, after: &c.after });
    let document =
        Report { generation: promoted.generation, changed: promoted.changed, nudged, models: models.collect() };
    output::print(global.style(), &document, || {
        let mut text: String = promoted.changes.iter().map(line).collect();
        if !promoted.changed {
            return text + "nothing to change: the catalog says so already\n";
        }
        text.push_str(&format!("catalog generation {}", promoted.generation));
        text.push_str(if nudged { "; the gateway was told\n" } else { "; backends see it at their next poll\n" });
        text
    });
}

/// Tells the gateway's backends to look now. That nobody can be told is no failure: they poll.
pub(crate) async fn nudge(admin: &Admin, store_id: &str, generation: u64) -> bool {
    let Ok(address) = place::admin(admin.admin.as_deref()) else { return false };
    let nudge = Nudge { store_id: store_id.to_owned(), generation };
    match client::post(&address, NUDGE_PATH, &nudge, admin.admin_token.as_deref()).await {
        Ok(_) => true,
        Err(error) => {
            if admin.admin.is_some() {
                output::say(&format!("headgate: the gateway could not be told: {error}\n"));
            }
            false
        }
    }
}

fn line(change: &Change) -> String {
    match change.before == change.after {
        true => format!("{}: serves {}\n", change.model, describe(&change.after)),
        false => format!("{}: {} -> {}\n", change.model, describe(&change.before), describe(&change.after)),
    }
}

/// A serve list in words: `version 2`, or `version 1 (95 %), version 2 (5 %)`.
pub(crate) fn describe(serve: &[Serve]) -> String {
    let total: u64 = serve.iter().map(|s| u64::from(s.weight)).sum();
    match serve {
        [] => "nothing".to_owned(),
        [one] => format!("version {}", one.version),
        many => {
            let share = |s: &Serve| 100.0 * f64::from(s.weight) / (total.max(1) as f64);
            let parts = many.iter().map(|s| format!("version {} ({:.0} %)", s.version, share(s)));
            parts.collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::{Digest, Version};

    use super::*;

    #[test]
    fn serve_lists_in_words() {
        let serve = |v, weight| Serve { version: Version::new(v).unwrap(), digest: Digest::of(""), weight };
        assert_eq!(describe(&[]), "nothing");
        assert_eq!(describe(&[serve(3, 7)]), "version 3");
        assert_eq!(describe(&[serve(1, 95), serve(2, 5)]), "version 1 (95 %), version 2 (5 %)");
    }
}
