# As synced, with commands that have not been pushed yet.
hx import --file "$WORLD/history.zsh"
hx sync init --store "$STORE"
hx sync push
printf ': 1700000100:0;echo one more command\n: 1700000200:0;echo and another\n' >"$WORLD/more.zsh"
hx import --file "$WORLD/more.zsh"
