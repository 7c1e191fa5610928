# A bucket with versions, into which a whole mirror was synced.
aws s3api put-bucket-versioning --bucket "$BUCKET" --versioning-configuration Status=Enabled
mirror
echo "a test" >"$WORLD/work/test.txt"
