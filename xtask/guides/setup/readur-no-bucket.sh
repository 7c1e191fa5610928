# There is no bucket at all.
rmdir "$BUCKETS/your-bucket"
