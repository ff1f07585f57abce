//! A process as its test handles it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::process::{ORDERS, Orders, TEST};
use crate::strace;
use crate::support::eventually;

/// Killed when it is dropped.
pub struct Process(Child);

impl Process {
    pub fn start(orders: &Orders) -> Self {
        Self::of(Command::new(std::env::current_exe().unwrap()), orders)
    }

    /// Its writes and syncs are logged to a file: see [`crate::strace`].
    pub fn start_traced(orders: &Orders, log: &Path) -> Self {
        let mut command = strace::command(log);
        command.arg(std::env::current_exe().unwrap());
        Self::of(command, orders)
    }

    fn of(mut command: Command, orders: &Orders) -> Self {
        command
            .args([TEST, "--exact", "--nocapture", "--test-threads=1"])
            .env(ORDERS, serde_json::to_string(orders).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGSTOP; returns once it stands still.
    pub fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Tells it to stop, and waits until it has.
    pub async fn end(mut self) {
        drop(self.0.stdin.take());
        let status = eventually("the process ends", async || self.0.try_wait().unwrap()).await;
        assert!(status.success(), "the process failed: {status}");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Orders that most tests begin with.
pub fn orders(url: String, witness: &Path) -> Orders {
    Orders {
        url,
        name: "worker".to_owned(),
        life: 1,
        lease: Duration::from_secs(5),
        slots: 8,
        step: Duration::from_millis(4),
        hold: None,
        witness: witness.to_owned(),
        starts: crate::process::Starts::Nothing,
    }
}
