//! The bucket: store, publish, release, watch
