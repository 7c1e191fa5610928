# A mirrored bucket with a policy of its own, and the policy that the reader may put in its place.
. "${BASH_SOURCE[0]%/*}/bottles-mirrored.sh"
policy() {
  local statement="\"Effect\": \"$1\", \"Principal\": \"*\", \"Action\": \"s3:PutObject\", \"Resource\": \"arn:aws:s3:::$BUCKET/*\""
  echo "{\"Version\": \"2012-10-17\", \"Statement\": [{$statement}]}"
}
policy Allow >"$WORLD/work/bucket-policy.json"
aws s3api put-bucket-policy --bucket "$BUCKET" --policy "$(policy Allow)"
