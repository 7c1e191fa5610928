# hx for zsh. Put this into ~/.zshrc, after compinit if you use it:  eval "$(hx init zsh)"

# A store URL has a `?`, which zsh takes for a file pattern. Without this alias an unquoted URL never reaches hx.
# With several `&` in it zsh sees a syntax error before it runs anything: quotes are the only way there.
alias hx='noglob hx'

# Completions need zsh's completion system.
if (( $+functions[compdef] && $+commands[hx] )); then
  eval "$(command hx completions zsh)"
fi
