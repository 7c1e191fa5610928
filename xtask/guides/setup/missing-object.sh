# An object of this machine was deleted from the store behind its back; its history still has the records.
hx import --file "$WORLD/history.zsh"
hx sync init --store "$STORE"
hx sync push
victim=$(newest_object objects/segments/)
[ -n "$victim" ] || fail "there is no segment in the store"
"$XTASK" s3 "$S3_ADDRESS" delete "$(bucket_of_store)" "$victim"
if hx sync verify >"$WORLD/missing.txt" 2>&1; then fail "a missing object was not noticed"; fi
grep -qi 'not found\|missing' "$WORLD/missing.txt" || fail "the object is not named: $(cat "$WORLD/missing.txt")"
