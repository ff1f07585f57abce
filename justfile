# Thin recipes over the commands of the README.

# The whole story, from an opened pull request to the receipt.
demo *arguments:
    cargo xtask demo {{arguments}}

# Every check; `just test --ring unit` for one ring.
test *arguments:
    cargo xtask test {{arguments}}

# The local Kubernetes: up, down or status.
cluster action:
    cargo xtask cluster {{action}}

# Writes the generated files (api/*.json) anew.
generate:
    cargo xtask generate
