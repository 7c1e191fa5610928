# A mirrored bucket whose policy refuses what a mirror does, as the tool says.
. "${BASH_SOURCE[0]%/*}/bottles-with-policy.sh"
aws s3api put-bucket-policy --bucket "$BUCKET" --policy "$(policy Deny)"
homebrew-sync test-permissions && fail "it says that nothing is missing"
true
