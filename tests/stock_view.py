"""What a stock Polymarket client sees of an account, as one JSON line.

Reads one JSON object on stdin: {"rest": base address, "private_key", "funder", "signature_type", "tokens": [token id]}.
"""

import json
import sys

from py_clob_client_v2 import AssetType, BalanceAllowanceParams, ClobClient

task = json.load(sys.stdin)
client = ClobClient(
    task["rest"], 137, key=task["private_key"], signature_type=task["signature_type"], funder=task["funder"]
)
client.set_api_creds(client.create_or_derive_api_key())


def balance(**asset):
    asked = BalanceAllowanceParams(signature_type=task["signature_type"], **asset)
    return int(client.get_balance_allowance(asked)["balance"])


key = client.creds.api_key
fills = set()
failed = 0
for trade in client.get_trades():
    ours = {m["order_id"] for m in trade["maker_orders"] if m["owner"] == key}
    if trade["owner"] == key:
        ours.add(trade["taker_order_id"])
    fills |= {(trade["id"], order) for order in ours}
    failed += len(ours) if trade["status"].endswith("FAILED") else 0

print(
    json.dumps(
        {
            "open": sorted(o["id"] for o in client.get_open_orders()),
            "fills": len(fills),
            "failed": failed,
            "cash": balance(asset_type=AssetType.COLLATERAL),
            "shares": {t: balance(asset_type=AssetType.CONDITIONAL, token_id=t) for t in task["tokens"]},
        }
    )
)
