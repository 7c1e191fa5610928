# A cloned machine: two homes with one identity have both pushed, so one sequence number was used twice.
hx import --file "$WORLD/history.zsh"
hx sync init --store "$STORE"
hx sync push
cp -a "$HOME" "$WORLD/clone"
printf ': 1700000100:0;echo on the clone\n' >"$WORLD/clone.zsh"
HOME="$WORLD/clone" hx import --file "$WORLD/clone.zsh"
HOME="$WORLD/clone" hx sync push
printf ': 1700000200:0;echo on the original\n' >"$WORLD/original.zsh"
hx import --file "$WORLD/original.zsh"
if hx sync push 2>"$WORLD/conflict.txt"; then fail "a used sequence number was not noticed"; fi
grep -qi 'sequence' "$WORLD/conflict.txt" || fail "the conflict is not named: $(cat "$WORLD/conflict.txt")"
