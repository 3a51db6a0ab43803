//! All that a service can be told, read once from the environment.

use std::fmt;
use std::str::FromStr;

use crate::behaviour::Plan;
use crate::service::Service;

/// What one process of a service was told by its environment. See the table in `apps/README.md`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HOST` and `PORT`: where to listen. Port 0 picks a free one. Default `0.0.0.0` and the service's own port.
    pub listen: (String, u16),
    /// `SERVICE_NAME`: the name in answers and logs. Default: the service's name.
    pub name: String,
    /// `SERVICE_VERSION`: the version in `/health` and in `x-app-version`. Default `1.0.0`.
    pub version: String,
    /// `SERVICE_INSTANCE`: the replica's name in `x-app-instance`. Default `HOSTNAME`, else the service's name.
    pub instance: String,
    /// `DATABASE_URL`: `sqlite:FILE` or `postgres://…`. Default `sqlite:leeboard-apps.db`.
    pub database_url: String,
    /// `LOG_LEVEL`: `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`. Default `INFO`.
    pub log_level: String,
    /// Where the other services are.
    pub upstreams: Upstreams,
    /// How calls leave this process.
    pub proxy: ProxySettings,
    /// `FAIL_PERCENT`, `DELAY_MS`, `FAIL_STATUS`: how the service misbehaves before anyone tells it otherwise.
    pub plan: Plan,
}

/// Base URLs of the services that others call, without a slash at the end.
#[derive(Clone, Debug)]
pub struct Upstreams {
    /// `USER_SERVICE_URL`. Default `http://user-service:5000`.
    pub user: String,
    /// `ORDER_SERVICE_URL`. Default `http://order-service:5001`.
    pub order: String,
    /// `EXTERNAL_SERVICE_URL`. Default `http://external-service:5002`.
    pub external: String,
    /// `NOTIFICATION_SERVICE_URL`. Default `http://notification-service:5003`.
    pub notification: String,
    /// `INVENTORY_SERVICE_URL`. Default `http://inventory-service:5004`.
    pub inventory: String,
    /// `EVENT_PUBLISHER_URL`. Default `http://event-publisher:5005`.
    pub publisher: String,
}

/// The proxy variables, as curl and most clients read them. Empty means unset.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    /// `http_proxy`, else `HTTP_PROXY`: where plain HTTP calls go. Unset: straight to the host of the URL.
    pub http: String,
    /// `no_proxy`, else `NO_PROXY`: hosts that are called straight, separated by commas.
    pub no: String,
}

/// A variable that could not be understood. Its text names the variable, the value and what was expected.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingError(String);

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingError {}

impl Settings {
    /// Reads the settings of `service` from the process's environment.
    ///
    /// # Errors
    /// The first variable whose value is not understood.
    pub fn from_environment(service: Service) -> Result<Settings, SettingError> {
        Settings::read(service, |name| std::env::var(name).ok())
    }

    /// Reads the settings of `service` from `lookup`, which gives a variable's value. An empty value counts as unset.
    ///
    /// # Errors
    /// The first variable whose value is not understood.
    pub fn read(service: Service, lookup: impl Fn(&str) -> Option<String>) -> Result<Settings, SettingError> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let text = |name: &str, default: &str| get(name).unwrap_or_else(|| default.to_owned());
        let url = |name: &str, default: &str| text(name, default).trim_end_matches('/').to_owned();
        let name = text("SERVICE_NAME", service.name());
        let plan = Plan {
            fail_percent: number(get, "FAIL_PERCENT", service.usual_fail_percent())?,
            delay_ms: number(get, "DELAY_MS", 0)?,
            status: number(get, "FAIL_STATUS", 503)?,
        };
        plan.validate().map_err(|why| SettingError(format!("FAIL_PERCENT, FAIL_STATUS: {why}")))?;
        Ok(Settings {
            listen: (text("HOST", "0.0.0.0"), number(get, "PORT", service.port())?),
            version: text("SERVICE_VERSION", "1.0.0"),
            instance: get("SERVICE_INSTANCE").or_else(|| get("HOSTNAME")).unwrap_or_else(|| name.clone()),
            name,
            database_url: text("DATABASE_URL", "sqlite:leeboard-apps.db"),
            log_level: text("LOG_LEVEL", "INFO"),
            upstreams: Upstreams {
                user: url("USER_SERVICE_URL", "http://user-service:5000"),
                order: url("ORDER_SERVICE_URL", "http://order-service:5001"),
                external: url("EXTERNAL_SERVICE_URL", "http://external-service:5002"),
                notification: url("NOTIFICATION_SERVICE_URL", "http://notification-service:5003"),
                inventory: url("INVENTORY_SERVICE_URL", "http://inventory-service:5004"),
                publisher: url("EVENT_PUBLISHER_URL", "http://event-publisher:5005"),
            },
            proxy: ProxySettings {
                http: get("http_proxy").or_else(|| get("HTTP_PROXY")).unwrap_or_default(),
                no: get("no_proxy").or_else(|| get("NO_PROXY")).unwrap_or_default(),
            },
            plan,
        })
    }
}

fn number<T: FromStr>(get: impl Fn(&str) -> Option<String>, name: &str, default: T) -> Result<T, SettingError> {
    match get(name) {
        None => Ok(default),
        Some(value) => {
            value.trim().parse().map_err(|_| SettingError(format!("{name}: `{value}` is not a number that fits here")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(service: Service, variables: &[(&str, &str)]) -> Result<Settings, SettingError> {
        Settings::read(service, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_means_the_documented_defaults() {
        let settings = read(Service::User, &[]).unwrap();
        assert_eq!(settings.listen, ("0.0.0.0".to_owned(), 5000));
        assert_eq!((settings.name.as_str(), settings.version.as_str()), ("user-service", "1.0.0"));
        assert_eq!(settings.instance, "user-service");
        assert_eq!(settings.database_url, "sqlite:leeboard-apps.db");
        assert_eq!(settings.upstreams.publisher, "http://event-publisher:5005");
        assert_eq!(settings.plan, Plan { fail_percent: 0.0, delay_ms: 0, status: 503 });
        assert_eq!(read(Service::External, &[]).unwrap().plan.fail_percent, 50.0);
    }

    #[test]
    fn variables_override_and_the_lower_case_proxy_wins() {
        let settings = read(
            Service::Order,
            &[
                ("PORT", "0"),
                ("HOSTNAME", "pod-7"),
                ("USER_SERVICE_URL", "http://users:9/"),
                ("http_proxy", "http://127.0.0.1:15001"),
                ("HTTP_PROXY", "http://other:1"),
                ("NO_PROXY", "localhost"),
            ],
        )
        .unwrap();
        assert_eq!((settings.listen.1, settings.instance.as_str()), (0, "pod-7"));
        assert_eq!(settings.upstreams.user, "http://users:9");
        assert_eq!((settings.proxy.http.as_str(), settings.proxy.no.as_str()), ("http://127.0.0.1:15001", "localhost"));
    }

    #[test]
    fn a_value_that_cannot_be_understood_is_named() {
        for (variables, expected) in [
            ([("PORT", "eighty")], "PORT: `eighty` is not a number that fits here"),
            ([("PORT", "70000")], "PORT: `70000` is not a number that fits here"),
            ([("FAIL_PERCENT", "101")], "FAIL_PERCENT, FAIL_STATUS: fail_percent must be from 0 to 100"),
            (
                [("FAIL_STATUS", "99")],
                "FAIL_PERCENT, FAIL_STATUS: status must be from 200 to 599, or 0 to hang up without an answer",
            ),
        ] {
            assert_eq!(read(Service::User, &variables).unwrap_err().to_string(), expected);
        }
    }
}
