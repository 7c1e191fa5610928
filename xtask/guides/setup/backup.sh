# A backup from March 2023 lies in the working folder; the history on this machine is younger.
other hx import --file "$WORLD/history.zsh"
other hx export --file "$PWD/hx-backup-20230301.json"
printf ': 1700000100:0;echo one more command\n' >"$WORLD/more.zsh"
hx import --file "$WORLD/more.zsh"
