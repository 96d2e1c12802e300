//! Our headers' names, made ready: a name that is given as text is read anew each time.

use headgate_contract::header;
use http::HeaderName;

pub(super) const CHOSEN_DIGEST: HeaderName = HeaderName::from_static(header::CHOSEN_DIGEST);
pub(super) const CHOSEN_VERSION: HeaderName = HeaderName::from_static(header::CHOSEN_VERSION);
pub(super) const DIGEST: HeaderName = HeaderName::from_static(header::DIGEST);
pub(super) const ERROR: HeaderName = HeaderName::from_static(header::ERROR);
pub(super) const IGNORED: HeaderName = HeaderName::from_static(header::IGNORED);
pub(super) const JSON_LENGTH: HeaderName = HeaderName::from_static(header::JSON_LENGTH);
pub(super) const LOAD: HeaderName = HeaderName::from_static(header::LOAD);
pub(super) const MODEL: HeaderName = HeaderName::from_static(header::MODEL);
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static(header::REQUEST_ID);
pub(super) const ROWS: HeaderName = HeaderName::from_static(header::ROWS);
pub(super) const TIMEOUT_MS: HeaderName = HeaderName::from_static(header::TIMEOUT_MS);
pub(super) const VERSION: HeaderName = HeaderName::from_static(header::VERSION);
pub(super) const WAITED_MS: HeaderName = HeaderName::from_static(header::WAITED_MS);
