//! Every golden vector is reproduced, and every check of them can fail.

use std::{fs, path::PathBuf};

use polyloly_fast::cli::vectors::check_dir;
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vectors")
}

#[test]
fn every_row_of_every_file() {
    let reports = check_dir(&fixtures()).unwrap();
    for r in &reports {
        assert_eq!(r.differences, [""; 0], "{}", r.file);
    }
    let rows: Vec<_> = reports.iter().map(|r| (r.file.as_str(), r.rows, r.skipped)).collect();
    assert_eq!(
        rows,
        [
            ("orders.json", 114, 0),
            ("amounts.json", 288, 0),
            ("l1_auth.json", 8, 0),
            ("l2_hmac.json", 14, 0),
            ("book_hash.json", 9, 0),
            ("fees.json", 24, 0),
            // Merges through adapters and router, and deposit wallet batches; the rest is not made by this program.
            ("relayer.json", 9 + 6, 20 + 12),
        ]
    );
}

/// Copies the vectors, lets `change` spoil one document, and gives the files in which a difference is then found.
fn spoiled(file: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let dir = std::env::temp_dir().join(format!("polyloly-vectors-{}-{:?}", std::process::id(), std::thread::current().id()));
    fs::create_dir_all(&dir).unwrap();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
    }
    let mut document: Value = serde_json::from_slice(&fs::read(dir.join(file)).unwrap()).unwrap();
    change(&mut document);
    fs::write(dir.join(file), document.to_string()).unwrap();
    let reports = check_dir(&dir).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    reports.into_iter().filter(|r| !r.differences.is_empty()).map(|r| r.file).collect()
}

#[test]
fn every_compared_field_is_compared() {
    let flip = |row: &mut Value| {
        *row = match row.take() {
            Value::String(text) => {
                let last = text.chars().last().unwrap();
                let other = if last == '1' { '2' } else { '1' };
                json!(format!("{}{other}", &text[..text.len() - last.len_utf8()]))
            }
            Value::Bool(b) => json!(!b),
            Value::Number(n) => json!(n.as_u64().unwrap() + 1),
            other => panic!("cannot spoil {other}"),
        };
    };
    for (file, pointers) in [
        (
            "orders.json",
            &[
                "/vectors/3/structHash",
                "/vectors/3/domainSeparator",
                "/vectors/80/orderId",
                "/vectors/80/signedDigest",
                "/vectors/80/signature",
                "/vectors/3/verifyingContract",
                "/vectors/3/order/salt",
                "/vectors/3/order/takerAmount",
                "/vectors/3/input/price",
                "/vectors/3/input/size",
                "/vectors/3/wire/order/expiration",
                "/vectors/3/wire/postOnly",
                "/vectors/3/wire/owner",
            ][..],
        ),
        ("amounts.json", &["/vectors/0/makerAmount", "/vectors/17/takerAmount"]),
        ("l1_auth.json", &["/vectors/0/signature", "/vectors/5/headers/POLY_NONCE", "/vectors/2/timestamp"]),
        ("l2_hmac.json", &["/vectors/0/signature", "/vectors/13/body", "/vectors/4/method"]),
        ("book_hash.json", &["/vectors/1/sha1", "/vectors/1/preimage", "/vectors/8/book/neg_risk"]),
        ("fees.json", &["/vectors/0/fee5_halfEven", "/vectors/0/fee5_down", "/vectors/3/buyerPays", "/vectors/3/sellerReceives"]),
        ("relayer.json", &["/calls/1/data", "/transactions/2/digest", "/transactions/2/submitBody/nonce"]),
    ] {
        for pointer in pointers {
            // A wire owner is text of the row itself, so its neighbour is spoiled: an added field must be seen too.
            let found = spoiled(file, |document| match *pointer {
                "/vectors/3/wire/owner" => document["vectors"][3]["wire"]["extra"] = json!(1),
                pointer => flip(document.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}"))),
            });
            assert_eq!(found, [file], "{pointer}");
        }
    }
}

#[test]
fn a_directory_without_vectors_is_an_error() {
    let error = check_dir(&std::env::temp_dir().join("polyloly-no-such-directory")).unwrap_err();
    assert!(error.contains("orders.json"), "{error}");
}
