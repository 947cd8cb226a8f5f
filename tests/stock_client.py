"""A stock Polymarket client against the embedded venue: the official package, unmodified.

Reads one JSON object on stdin: {"rest": base address, "token": token id, "accounts": [{private_key, funder,
signature_type}]}. Prints one JSON line per account; an assertion that fails ends it with a traceback.
"""

import json
import sys

from py_clob_client_v2 import (
    AssetType,
    BalanceAllowanceParams,
    BookParams,
    ClobClient,
    MarketOrderArgs,
    OpenOrderParams,
    OrderArgs,
    OrderPayload,
    OrderType,
    PostOrdersV2Args,
    TradeParams,
)
from py_clob_client_v2.exceptions import PolyApiException


def refused(call):
    try:
        call()
    except PolyApiException as error:
        return str(error)
    raise AssertionError("not refused")


def trade(rest, token, account):
    kind = account["signature_type"]
    client = ClobClient(
        rest, 137, key=account["private_key"], signature_type=kind, funder=account["funder"]
    )
    assert client.get_ok() == "OK"
    assert client.get_version() == 2
    creds = client.create_or_derive_api_key()
    client.set_api_creds(creds)
    assert client.derive_api_key().api_key == creds.api_key
    assert creds.api_key in client.get_api_keys()["apiKeys"]
    assert client.get_closed_only_mode() == {"closed_only": False}

    book = client.get_order_book(token)
    assert book["asks"][-1]["price"] == "0.55", book
    assert [b["asset_id"] for b in client.get_order_books([BookParams(token_id=token)])] == [token]
    assert client.get_tick_size(token) == "0.01"
    assert client.get_midpoint(token) == {"mid": "0.525"}
    assert client.get_price(token, "SELL") == {"price": "0.55"}
    market = client.get_market(book["market"])
    assert market["tokens"][0]["token_id"] == token
    assert client.get_markets()["data"][0]["condition_id"] == book["market"]

    # GTC rests, is listed, is cancelled.
    placed = client.create_and_post_order(
        OrderArgs(token_id=token, price=0.41, size=20.5, side="BUY"), order_type=OrderType.GTC
    )
    assert placed["success"] and placed["status"] == "live", placed
    order = placed["orderID"]
    assert client.get_order(order)["original_size"] == "20.5"
    assert [o["id"] for o in client.get_open_orders(OpenOrderParams(asset_id=token))] == [order]

    # FOK and FAK buys and a FAK sell; the client itself waits for the settlement transaction.
    bought = 0.0
    for order_type in (OrderType.FOK, OrderType.FAK):
        done = client.create_and_post_market_order(
            MarketOrderArgs(token_id=token, amount=5, side="BUY", order_type=order_type),
            order_type=order_type,
        )
        assert done["status"] == "matched" and done["makingAmount"] == "5", done
        assert done["transactionsHashes"] and done["transactionsHashes"][0].startswith("0x"), done
        bought += float(done["takingAmount"])
    sold = client.create_and_post_market_order(
        MarketOrderArgs(token_id=token, amount=8, side="SELL", order_type=OrderType.FAK),
        order_type=OrderType.FAK,
    )
    assert sold["status"] == "matched" and sold["makingAmount"] == "8", sold
    killed = refused(
        lambda: client.create_and_post_market_order(
            MarketOrderArgs(token_id=token, amount=9000, side="BUY", price=0.55), order_type=OrderType.FOK
        )
    )
    assert "FOK orders are fully filled or killed" in killed, killed
    off_grid = refused(
        lambda: client.post_order(
            client.create_order(OrderArgs(token_id=token, price=0.41, size=4.99, side="BUY")), OrderType.GTC
        )
    )
    assert "lower than the minimum: 5" in off_grid, off_grid

    trades = client.get_trades(TradeParams(asset_id=token))
    assert len(trades) == 3 and {t["trader_side"] for t in trades} == {"TAKER"}, trades
    shares = client.get_balance_allowance(
        BalanceAllowanceParams(asset_type=AssetType.CONDITIONAL, token_id=token)
    )
    assert int(shares["balance"]) == round((bought - 8) * 1e6), shares
    cash = client.get_balance_allowance(BalanceAllowanceParams(asset_type=AssetType.COLLATERAL))
    assert 9_990_000_000 < int(cash["balance"]) < 9_995_000_000, cash

    batch = client.post_orders(
        [
            PostOrdersV2Args(
                order=client.create_order(OrderArgs(token_id=token, price=price, size=10, side="BUY")),
                orderType=OrderType.GTC,
            )
            for price in (0.30, 0.31)
        ]
    )
    assert [leg["status"] for leg in batch] == ["live", "live"], batch
    assert client.cancel_order(OrderPayload(orderID=order))["canceled"] == [order]
    assert client.cancel_orders([batch[0]["orderID"]])["canceled"] == [batch[0]["orderID"]]
    assert client.cancel_all()["canceled"] == [batch[1]["orderID"]]
    assert client.get_open_orders() == []
    beat = client.post_heartbeat("")
    assert client.post_heartbeat(beat["heartbeat_id"])["heartbeat_id"]
    print(json.dumps({"signature_type": kind, "trades": len(trades)}), flush=True)


def main():
    task = json.load(sys.stdin)
    for account in task["accounts"]:
        trade(task["rest"], task["token"], account)


main()
