"""HTTP in, validated action out: signatures, schemas, error codes, limits."""
