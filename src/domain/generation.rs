//! What an app asks for: the request of EvoLink's z-image-turbo page, parsed and bounded.
