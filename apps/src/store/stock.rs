//! What lies in the warehouse, and how much of it is promised to orders.

use serde::Serialize;
use sqlx::Row;

use super::Store;

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, reserved BIGINT NOT NULL); \
    CREATE TABLE IF NOT EXISTS stock_events (seq GROWING_KEY, event_type TEXT NOT NULL)";

pub(super) const FIRST_ROWS: &str = "INSERT INTO stock (item, reserved) \
    SELECT 'Product A', 0 WHERE NOT EXISTS (SELECT 1 FROM stock)";

/// One item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StockLine {
    /// The item's name, as orders spell it.
    pub name: String,
    /// How many are promised to orders.
    pub reserved: i64,
}

impl Store {
    /// Notes one event and promises one of each item to it, all or nothing.
    ///
    /// # Errors
    /// The store failed.
    pub async fn reserve(&self, event_type: &str, items: &[String]) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO stock_events (event_type) VALUES ($1)")
            .bind(event_type.to_owned())
            .execute(&mut *transaction)
            .await?;
        for item in items {
            sqlx::query(
                "INSERT INTO stock (item, reserved) VALUES ($1, 1) \
                 ON CONFLICT (item) DO UPDATE SET reserved = stock.reserved + 1",
            )
            .bind(item.clone())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    }

    /// All items by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn stock(&self) -> Result<Vec<StockLine>, sqlx::Error> {
        let rows = sqlx::query("SELECT item, reserved FROM stock ORDER BY item").fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok(StockLine { name: row.try_get(0)?, reserved: row.try_get(1)? })).collect()
    }

    /// How many events the warehouse has heard of.
    ///
    /// # Errors
    /// The store failed.
    pub async fn stock_event_count(&self) -> Result<i64, sqlx::Error> {
        sqlx::query("SELECT COUNT(*) FROM stock_events").fetch_one(&self.pool).await?.try_get(0)
    }
}
