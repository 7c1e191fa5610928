# A machine whose history lies in the block's store.
hx import --file "$WORLD/history.zsh"
hx sync init --store "$STORE"
hx sync push
