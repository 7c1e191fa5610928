# A machine with an imported history that has never synced.
hx import --file "$WORLD/history.zsh"
