# hx for fish. Put this into ~/.config/fish/config.fish:  hx init fish | source

# Put store URLs in quotes: fish cuts them at the first `&`.
if status is-interactive; and command --query hx
    command hx completions fish | source
end
