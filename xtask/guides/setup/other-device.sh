# Another machine has made a vault in the block's store; this one has a history of its own.
printf ': 1690000000:0;echo from the other device\n' >"$WORLD/other.zsh"
other hx import --file "$WORLD/other.zsh"
other hx sync init --store "$STORE"
other hx sync push
hx import --file "$WORLD/history.zsh"
