//! The orders.

use serde::Serialize;
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, json_from};

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS orders (seq GROWING_KEY, id TEXT NOT NULL UNIQUE, \
    user_id TEXT NOT NULL, user_name TEXT, items TEXT NOT NULL, total TEXT NOT NULL, \
    status TEXT NOT NULL, created_at TEXT NOT NULL)";

/// One order, as it is answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Order {
    /// A random UUID.
    pub id: String,
    /// Who ordered.
    pub user_id: String,
    /// The user's name at the time of the order, if the user had one.
    pub user_name: Option<String>,
    /// What the caller sent as `items`. Default `[]`.
    pub items: Value,
    /// What the caller sent as `total`. Default 0.
    pub total: Value,
    /// `pending`, until the caller changes it.
    pub status: String,
    /// RFC 3339.
    pub created_at: String,
}

impl Order {
    fn from_row(row: &AnyRow) -> Result<Order, sqlx::Error> {
        Ok(Order {
            id: row.try_get(0)?,
            user_id: row.try_get(1)?,
            user_name: row.try_get(2)?,
            items: json_from(row.try_get(3)?),
            total: json_from(row.try_get(4)?),
            status: row.try_get(5)?,
            created_at: row.try_get(6)?,
        })
    }
}

impl Store {
    /// All orders, oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn orders(&self) -> Result<Vec<Order>, sqlx::Error> {
        let rows =
            sqlx::query("SELECT id, user_id, user_name, items, total, status, created_at FROM orders ORDER BY seq")
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(Order::from_row).collect()
    }

    /// The order with this id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn order(&self, id: &str) -> Result<Option<Order>, sqlx::Error> {
        let query =
            sqlx::query("SELECT id, user_id, user_name, items, total, status, created_at FROM orders WHERE id = $1")
                .bind(id.to_owned());
        query.fetch_optional(&self.pool).await?.as_ref().map(Order::from_row).transpose()
    }

    /// Adds an order.
    ///
    /// # Errors
    /// The store failed.
    pub async fn add_order(&self, order: &Order) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO orders (id, user_id, user_name, items, total, status, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(order.id.clone())
        .bind(order.user_id.clone())
        .bind(order.user_name.clone())
        .bind(order.items.to_string())
        .bind(order.total.to_string())
        .bind(order.status.clone())
        .bind(order.created_at.clone())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Writes the items, the total and the status of an order that is there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn update_order(&self, order: &Order) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE orders SET items = $1, total = $2, status = $3 WHERE id = $4")
            .bind(order.items.to_string())
            .bind(order.total.to_string())
            .bind(order.status.clone())
            .bind(order.id.clone())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
