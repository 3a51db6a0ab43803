//! Events, who wants to hear of them, and the notifications that were made of them.

use serde::Serialize;
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, json_from};

pub(super) const TABLES: &str = "CREATE TABLE IF NOT EXISTS events (seq GROWING_KEY, id TEXT NOT NULL UNIQUE, \
    type TEXT NOT NULL, data TEXT NOT NULL, timestamp TEXT NOT NULL, version TEXT NOT NULL); \
    CREATE TABLE IF NOT EXISTS subscriptions (seq GROWING_KEY, event_type TEXT NOT NULL, \
    webhook_url TEXT NOT NULL, UNIQUE (event_type, webhook_url)); \
    CREATE TABLE IF NOT EXISTS notifications (id GROWING_KEY, event_id TEXT, event_type TEXT NOT NULL, \
    message TEXT NOT NULL, timestamp TEXT NOT NULL, status TEXT NOT NULL)";

pub(super) const FIRST_ROWS: &str = "INSERT INTO subscriptions (event_type, webhook_url) \
    SELECT event_type, webhook_url FROM (\
    SELECT 1 AS seq, 'user.created' AS event_type, 'NOTIFICATION/webhook' AS webhook_url \
    UNION ALL SELECT 2, 'order.created', 'NOTIFICATION/webhook' \
    UNION ALL SELECT 3, 'order.updated', 'INVENTORY/webhook') AS first_subscriptions \
    WHERE NOT EXISTS (SELECT 1 FROM subscriptions) ORDER BY seq";

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// A random UUID.
    pub id: String,
    /// Such as `order.created`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whatever the publisher of the event said.
    pub data: Value,
    /// RFC 3339.
    pub timestamp: String,
    /// The version of this shape: `1.0`.
    pub version: String,
}

/// A notification to be kept.
#[derive(Clone, Debug)]
pub struct NewNotification {
    /// The event's id, if the event had one.
    pub event_id: Option<String>,
    /// The event's type.
    pub event_type: String,
    /// The text that was sent.
    pub message: String,
}

/// A notification that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// 1, 2, …
    pub id: i64,
    /// The event's id, if the event had one.
    pub event_id: Option<String>,
    /// The event's type.
    pub event_type: String,
    /// The text that was sent.
    pub message: String,
    /// RFC 3339.
    pub timestamp: String,
    /// `sent`.
    pub status: String,
}

impl Event {
    fn from_row(row: &AnyRow) -> Result<Event, sqlx::Error> {
        Ok(Event {
            id: row.try_get(0)?,
            kind: row.try_get(1)?,
            data: json_from(row.try_get(2)?),
            timestamp: row.try_get(3)?,
            version: row.try_get(4)?,
        })
    }
}

impl Notification {
    fn from_row(row: &AnyRow) -> Result<Notification, sqlx::Error> {
        Ok(Notification {
            id: row.try_get(0)?,
            event_id: row.try_get(1)?,
            event_type: row.try_get(2)?,
            message: row.try_get(3)?,
            timestamp: row.try_get(4)?,
            status: row.try_get(5)?,
        })
    }
}

impl Store {
    /// Keeps an event.
    ///
    /// # Errors
    /// The store failed.
    pub async fn add_event(&self, event: &Event) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO events (id, type, data, timestamp, version) VALUES ($1, $2, $3, $4, $5)")
            .bind(event.id.clone())
            .bind(event.kind.clone())
            .bind(event.data.to_string())
            .bind(event.timestamp.clone())
            .bind(event.version.clone())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// All events, oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn events(&self) -> Result<Vec<Event>, sqlx::Error> {
        let query = sqlx::query("SELECT id, type, data, timestamp, version FROM events ORDER BY seq");
        query.fetch_all(&self.pool).await?.iter().map(Event::from_row).collect()
    }

    /// How many events were published, and how many types of event have a subscriber.
    ///
    /// # Errors
    /// The store failed.
    pub async fn event_counts(&self) -> Result<(i64, i64), sqlx::Error> {
        let query =
            sqlx::query("SELECT (SELECT COUNT(*) FROM events), (SELECT COUNT(DISTINCT event_type) FROM subscriptions)");
        let row = query.fetch_one(&self.pool).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    /// The webhooks of an event type, in the order in which they subscribed. The first ones begin with `NOTIFICATION`
    /// or `INVENTORY` in the place of that service's base URL, which is the environment's to say.
    ///
    /// # Errors
    /// The store failed.
    pub async fn webhooks(&self, event_type: &str) -> Result<Vec<String>, sqlx::Error> {
        let query = sqlx::query("SELECT webhook_url FROM subscriptions WHERE event_type = $1 ORDER BY seq")
            .bind(event_type.to_owned());
        query.fetch_all(&self.pool).await?.iter().map(|row| row.try_get(0)).collect()
    }

    /// Adds a subscription; one that is there already stays one.
    ///
    /// # Errors
    /// The store failed.
    pub async fn subscribe(&self, event_type: &str, webhook_url: &str) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO subscriptions (event_type, webhook_url) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(event_type.to_owned())
            .bind(webhook_url.to_owned())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Keeps a notification as sent now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn add_notification(&self, new: NewNotification) -> Result<Notification, sqlx::Error> {
        let query = sqlx::query(
            "INSERT INTO notifications (event_id, event_type, message, timestamp, status) \
             VALUES ($1, $2, $3, $4, 'sent') RETURNING id, event_id, event_type, message, timestamp, status",
        )
        .bind(new.event_id)
        .bind(new.event_type)
        .bind(new.message)
        .bind(crate::clock::now());
        Notification::from_row(&query.fetch_one(&self.pool).await?)
    }

    /// All notifications, oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn notifications(&self) -> Result<Vec<Notification>, sqlx::Error> {
        let query =
            sqlx::query("SELECT id, event_id, event_type, message, timestamp, status FROM notifications ORDER BY id");
        query.fetch_all(&self.pool).await?.iter().map(Notification::from_row).collect()
    }

    /// How many notifications were sent.
    ///
    /// # Errors
    /// The store failed.
    pub async fn notification_count(&self) -> Result<i64, sqlx::Error> {
        sqlx::query("SELECT COUNT(*) FROM notifications").fetch_one(&self.pool).await?.try_get(0)
    }
}
