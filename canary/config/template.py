"""The canary.yaml that `canary init` writes: small, commented, valid as it stands."""

from typing import Final

TEMPLATE: Final = """\
# canary.yaml - checked as a whole: canary check canary.yaml
listen: 127.0.0.1:8080                  # clients call this port
admin: {listen: 127.0.0.1:8081}         # console and API; off loopback only with token: {env: NAME}
database: embedded                      # or postgresql://user@host/db (DATABASE_URL wins)

routes:
  main:
    match: {path_prefix: /}
    kind: http                          # or llm: answers of language models are understood
    # unit: {header: x-user-id}         # what stays on its arm; left out, each request is assigned by itself
    versions:
      v1: {upstream: "http://127.0.0.1:9001", build: first}
      v2: {upstream: "http://127.0.0.1:9002", build: second}
      # Secrets are references, never values:
      #   headers: {authorization: {env: V2_KEY}}
    stable: v1                          # the first value; afterwards the store's decision is in charge
    # metrics: {score: {from: "json:/usage/score", kind: quality, cap: 1}, cost: {from: "header:x-cost", kind: cost}}
    # GET and HEAD may always be copied to a shadow; POST only on the paths named here:
    mirror: {paths: []}
    record: {bodies: "off", keep_days: 14}

plans:
  careful:
    shadow: {share: 100%, min_pairs: 500}
    stages:
      - {weight: 1%, dwell: 5m}
      - {weight: 5%, dwell: 5m}
      - {weight: 25%, dwell: 5m}
      - {weight: 50%, dwell: 5m}
    watch: {for: 24h, holdback: 5%}     # after promotion the old version keeps this share as a control
"""
