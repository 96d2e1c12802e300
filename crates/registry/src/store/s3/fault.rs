//! What a failed call says, and what it means to a store.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::store::{StoreError, When};

/// What a failed call says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// 304: the object is in the state that was named.
    NotModified,
    /// No such object.
    Missing,
    /// No such bucket.
    NoBucket,
    /// 412: the condition of a write does not hold.
    Precondition,
    /// 409: another write was under way; ours did not happen.
    Conflict(String),
    /// No credentials, wrong ones, or too few rights.
    Denied(String),
    /// 416: the object ends before the range.
    NoRange,
    /// 501: the server knows no such call or header.
    NotImplemented(String),
    /// No room.
    Full(String),
    /// No reply in time.
    Late,
    /// No reply, a broken one, or a failure of the server.
    Down(String),
    /// Anything else: a fault of ours, or of the configuration.
    Refused(String),
}

impl Said {
    pub(super) fn by<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E, HttpResponse>) -> Self {
        match error {
            SdkError::TimeoutError(_) => Self::Late,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::Late,
            SdkError::DispatchFailure(failure) if failure.is_io() => Self::Down(said(error)),
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
                let text = said(error);
                // The SDK's own type for this is not public here.
                match text.to_lowercase().contains("credential") {
                    true => Self::Denied(text),
                    false => Self::Down(text),
                }
            }
            SdkError::ServiceError(service) => {
                Self::replied(service.raw().status().as_u16(), service.err().code(), service.err().message())
            }
            _ => match error.raw_response().map(|raw| raw.status().as_u16()) {
                Some(304) => Self::NotModified,
                _ => Self::Down(said(error)),
            },
        }
    }

    fn replied(status: u16, code: Option<&str>, message: Option<&str>) -> Self {
        let text = match (code, message) {
            (Some(code), Some(message)) => format!("{status} {code}: {message}"),
            (Some(code), None) => format!("{status} {code}"),
            (None, _) => format!("status {status}"),
        };
        match (status, code.unwrap_or_default()) {
            (304, _) => Self::NotModified,
            (404, "NoSuchBucket") => Self::NoBucket,
            // S3 names what is missing; a proxy whose server is away, or an endpoint that is none of S3, does not.
            (404, "") => Self::Down(format!("{text} without an error code: that is not S3 that answers")),
            (404, _) => Self::Missing,
            (412, _) => Self::Precondition,
            (409, _) => Self::Conflict(text),
            (416, _) => Self::NoRange,
            (401 | 403, _) | (400, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => Self::Denied(text),
            (501, _) => Self::NotImplemented(text),
            (507, _) | (_, "XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded") => {
                Self::Full(text)
            }
            (408 | 429 | 500.., _) | (_, "SlowDown" | "RequestTimeout") => Self::Down(text),
            _ => Self::Refused(text),
        }
    }

    /// What it means to a reader.
    pub(super) fn on_read(self, at: String, timeout: Duration) -> StoreError {
        match self {
            Self::Missing => StoreError::NotFound { at },
            Self::NoBucket => StoreError::NoStore { at: bucket_of(&at) },
            // Without the right to list, S3 tells a reader neither that a key is missing nor that it is forbidden.
            Self::Denied(why) if why.starts_with("403") => {
                StoreError::Forbidden { at, why: format!("{why} (a missing key reads so too, without s3:ListBucket)") }
            }
            Self::Denied(why) => StoreError::Forbidden { at, why },
            Self::NoRange => StoreError::Damaged { at, why: "it is shorter than it should be".to_owned() },
            Self::Late => StoreError::Timeout { at, timeout_ms: timeout.as_millis() as u64 },
            Self::Down(why) => StoreError::Unreachable { at, why },
            Self::Full(why) | Self::Conflict(why) | Self::NotImplemented(why) | Self::Refused(why) => {
                StoreError::Refused { at, why }
            }
            Self::NotModified | Self::Precondition => {
                StoreError::Refused { at, why: "the reply does not fit the request".to_owned() }
            }
        }
    }

    /// What it means to a writer.
    pub(super) fn on_write(self, at: String, timeout: Duration, when: When<'_>) -> StoreError {
        match (self, when) {
            (Self::Precondition, When::Absent) => StoreError::Exists { at },
            (Self::Precondition | Self::Missing, When::Is(_)) => StoreError::Changed { at },
            (Self::Denied(why), _) => StoreError::Forbidden { at, why },
            (Self::Full(why), _) => StoreError::Full { at, why },
            (Self::Conflict(why), _) => StoreError::Unreachable { at, why },
            (Self::NotImplemented(_), When::Absent) => {
                StoreError::Lacks { at: bucket_of(&at), what: "create-only writes (If-None-Match: *)" }
            }
            (Self::NotImplemented(_), When::Is(_)) => {
                StoreError::Lacks { at: bucket_of(&at), what: "compare-and-swap writes (If-Match)" }
            }
            (said, _) => said.on_read(at, timeout),
        }
    }
}

/// The error with everything that caused it, in one line; what repeats its cause is said once.
fn said(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !line.contains(&part) {
            line = if line.is_empty() { part } else { format!("{line}: {part}") };
        }
        next = error.source();
    }
    line.chars().take(400).collect()
}

fn bucket_of(at: &str) -> String {
    at.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_mean_what_s3_says_they_do() {
        let replied = |status, code| Said::replied(status, Some(code), None);
        assert_eq!(replied(404, "NoSuchBucket"), Said::NoBucket);
        assert_eq!(replied(404, "NoSuchKey"), Said::Missing);
        assert!(matches!(Said::replied(404, None, None), Said::Down(_)));
        assert_eq!(replied(400, "ExpiredToken"), Said::Denied("400 ExpiredToken".to_owned()));
        assert_eq!(
            replied(409, "ConditionalRequestConflict"),
            Said::Conflict("409 ConditionalRequestConflict".to_owned())
        );
        assert!(matches!(replied(503, "SlowDown"), Said::Down(_)));
        assert!(matches!(replied(301, "PermanentRedirect"), Said::Refused(_)));
        let at = || "s3://bucket/a/b".to_owned();
        let tag = crate::store::ETag(String::new());
        let time = Duration::from_millis(7);
        assert_eq!(Said::Precondition.on_write(at(), time, When::Absent), StoreError::Exists { at: at() });
        assert_eq!(Said::Missing.on_write(at(), time, When::Is(&tag)), StoreError::Changed { at: at() });
        assert_eq!(Said::NoBucket.on_read(at(), time), StoreError::NoStore { at: "s3://bucket".to_owned() });
        let lacks = Said::NotImplemented(String::new()).on_write(at(), time, When::Absent);
        assert!(lacks.to_string().contains("create-only"), "{lacks}");
    }
}
