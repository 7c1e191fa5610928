# As synced, with a backup from March 2023 in the working folder.
hx import --file "$WORLD/history.zsh"
hx sync init --store "$STORE"
hx sync push
hx export --file "$PWD/hx-backup-20230301.json"
