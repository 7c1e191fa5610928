# Two machines have synced; then one byte string of the other's newest manifest is overwritten in the store.
hx import --file "$WORLD/history.zsh"
hx sync init --store "$STORE"
hx sync push
own=$(newest_object manifests/)
printf ': 1690000000:0;echo from the other device\n' >"$WORLD/other.zsh"
other hx import --file "$WORLD/other.zsh"
other hx sync init --store "$STORE"
other hx sync push
printf ': 1690000100:0;echo from the other device, later\n' >"$WORLD/later.zsh"
other hx import --file "$WORLD/later.zsh"

other hx sync push
for key in $("$XTASK" s3 "$S3_ADDRESS" list "$(bucket_of_store)" "$(prefix_of_store)manifests/"); do
  case "$key" in
  "${own%/*}"/*) ;;
  *) victim=$key ;;
  esac
done
printf 'this is no manifest' | "$XTASK" s3 "$S3_ADDRESS" put "$(bucket_of_store)" "${victim:-$own}"
hx sync pull >"$WORLD/corrupt.txt" 2>&1 || true
grep -qi 'corrupt' "$WORLD/corrupt.txt" || fail "the corruption is not named: $(cat "$WORLD/corrupt.txt")"
