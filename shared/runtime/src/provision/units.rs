//! Durations and sizes as people write them in the definition files, and as the server wants them.

use serde_json::{Map, Value, json};

const DURATIONS: [&str; 6] = [
    "max_age",
    "duplicate_window",
    "ack_wait",
    "inactive_threshold",
    "subject_delete_marker_ttl",
    "ttl",
];
const SIZES: [&str; 3] = ["max_bytes", "max_msg_size", "max_value_size"];

/// Nanoseconds of `30d`, `72h`, `2m`, `30s`, `100ms`.
fn nanoseconds(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let unit: u64 = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Bytes of `64KiB`, `2MiB`, `4GiB`.
fn bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Turns the readable fields of one definition into numbers; says which one is not readable.
pub(super) fn normalize(config: &mut Map<String, Value>) -> Result<(), String> {
    for (field, value) in config.iter_mut() {
        let Some(text) = value.as_str() else { continue };
        let number = if DURATIONS.contains(&field.as_str()) {
            nanoseconds(text).ok_or_else(|| field.clone())?
        } else if SIZES.contains(&field.as_str()) {
            bytes(text).ok_or_else(|| field.clone())?
        } else {
            continue;
        };
        *value = json!(number);
    }
    Ok(())
}

/// The opposite, for a difference that people read.
pub(super) fn readable(field: &str, value: &Value) -> String {
    let Some(number) = value.as_u64() else { return value.to_string() };
    if DURATIONS.contains(&field) {
        return largest_unit(
            number,
            &[
                (86_400_000_000_000, "d"),
                (3_600_000_000_000, "h"),
                (60_000_000_000, "m"),
                (1_000_000_000, "s"),
                (1_000_000, "ms"),
            ],
        );
    }
    if SIZES.contains(&field) {
        return largest_unit(number, &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]);
    }
    number.to_string()
}

fn largest_unit(number: u64, units: &[(u64, &str)]) -> String {
    let fits = |&&(size, _): &&(u64, &str)| number > 0 && number.is_multiple_of(size);
    match units.iter().find(fits) {
        Some((size, unit)) => format!("{}{unit}", number / size),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_written() {
        assert_eq!(nanoseconds("2m"), Some(120_000_000_000));
        assert_eq!(bytes("4GiB"), Some(4 << 30));
        assert_eq!(nanoseconds("2 minutes"), None);
        assert_eq!(readable("max_age", &json!(2_592_000_000_000_000_u64)), "30d");
        assert_eq!(readable("max_bytes", &json!(1_u64 << 29)), "512MiB");
        assert_eq!(readable("max_consumers", &json!(200)), "200");
    }

    #[test]
    fn an_unreadable_duration_is_named() {
        let mut config = Map::from_iter([("max_age".to_owned(), json!("a month"))]);
        assert_eq!(normalize(&mut config), Err("max_age".to_owned()));
    }
}
