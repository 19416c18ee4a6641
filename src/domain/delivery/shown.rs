//! The state of a delivery as operators see it: the stored state, except that held deliveries have
//! a state of their own.

use super::DeliveryState;

/// The state of a delivery in the API and in commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShownState {
    Pending,
    /// Stored as pending. Its endpoint answers 410, so it is not sent, or only as a probe.
    Held,
    Delivered,
    Dead,
}

impl ShownState {
    pub const ALL: [Self; 4] = [Self::Pending, Self::Held, Self::Delivered, Self::Dead];

    /// Returns the state to show. `endpoint_is_gone` means that the endpoint is disabled, or has
    /// answered 410 since its last 2xx answer.
    pub const fn of(stored: DeliveryState, endpoint_is_gone: bool) -> Self {
        match stored {
            DeliveryState::Pending if endpoint_is_gone => Self::Held,
            DeliveryState::Pending => Self::Pending,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Dead => Self::Dead,
        }
    }

    pub const fn stored(self) -> DeliveryState {
        match self {
            Self::Pending | Self::Held => DeliveryState::Pending,
            Self::Delivered => DeliveryState::Delivered,
            Self::Dead => DeliveryState::Dead,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Pending | Self::Delivered | Self::Dead => self.stored().into_str(),
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}
