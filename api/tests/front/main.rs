//! The front as its users meet it: real servers on ports of their own, a real store in a file.
//! Only the cluster and GitHub are stand-ins, as far as the front asks them anything.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod application;
mod gateway;
mod gateway_sign_in;
mod generated;
mod mcp;
mod pages;
mod rest;
mod sign_in;
mod standins;
mod streams;
mod teams;
mod webhook;
mod world;
mod writes;
