"""From finished files to the bucket: spool, object stores, uploader."""
