# hx for bash. Put this into ~/.bashrc:  eval "$(hx init bash)"

# Put store URLs in quotes: bash cuts them at the first `&`.
if [[ $- == *i* ]] && command -v hx >/dev/null 2>&1; then
  eval "$(command hx completions bash)"
fi
