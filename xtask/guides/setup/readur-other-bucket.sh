# The bucket of the guide's line exists.
mkdir "$BUCKETS/your-bucket-name"
