//! A disk that a test may damage in any way: a file system in its own mount namespace. However the
//! test ends, the mount and the loop device disappear with it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::place::Place;
use crate::support::machine::needs::{self, Root};

/// The ioctl `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`. Everything that was not synced
/// is lost, as in a power failure.
const POWER_CUT: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/// Environment variable: `ext3` or `tmpfs` runs the full-disk tests on that file system instead of
/// ext4.
const FILE_SYSTEM: &str = "EVOLINK_RECEIVER_TEST_FILE_SYSTEM";

/// A mounted file system that belongs to one test.
pub struct Disk {
    namespace: Namespace,
    /// The arguments of `mount` for this disk.
    source: Vec<OsString>,
    mount_point: PathBuf,
}

/// A process that only keeps a mount namespace alive. It reads from a pipe of the test process, so
/// it ends when that process dies, and the mounts disappear with it.
struct Namespace {
    holder: Child,
}

impl Disk {
    /// Returns a fresh disk and a receiver's place on it. `None`, after printing one line, if this
    /// machine does not support that.
    pub fn with_place(size: &str) -> Option<(Self, Place)> {
        Self::formatted(size, &[]).map(Self::and_place)
    }

    /// Returns a fresh disk for the archive of a receiver, and the receiver's place, whose other
    /// files are elsewhere.
    pub fn with_archive(size: &str) -> Option<(Self, Place)> {
        let (disk, scratch) = Self::formatted(size, &[])?;
        let place = Place::in_scratch(scratch, disk.namespace.entering());
        let results = place.data().join("results");
        place.configure(
            &format!("file:{}", results.display()),
            &format!("file:{}", disk.path("results").display()),
        );
        Some((disk, place))
    }

    /// Like `with_place`, with blocks as large as a page of memory, as volumes from 512 MiB have.
    /// With smaller ones a full disk can end the process with SIGBUS (docs/disk.md).
    pub fn with_whole_pages(size: &str) -> Option<(Self, Place)> {
        Self::formatted(size, &["-b", "4096"]).map(Self::and_place)
    }

    fn formatted(size: &str, options: &[&str]) -> Option<(Self, TempDir)> {
        let kind = std::env::var(FILE_SYSTEM).unwrap_or_else(|_| "ext4".to_owned());
        if kind == "tmpfs" {
            let source = ["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"];
            let source = source.map(OsString::from).to_vec();
            return Self::mounted(tempfile::tempdir().unwrap(), source);
        }
        let mkfs = format!("mkfs.{kind}");
        if !needs::are_met(Root::Needed, &[&mkfs]) {
            return None;
        }
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("image");
        run(Command::new("truncate").args(["-s", size]).arg(&image)).unwrap();
        run(Command::new(mkfs).arg("-q").args(options).arg(&image)).unwrap();
        // If the kernel finds an error in the file system, it turns it read-only under open files.
        let mounting = "loop,errors=remount-ro";
        Self::mounted(scratch, vec!["-o".into(), mounting.into(), image.into()])
    }

    /// Like `with_place`, but in memory and with at most `files` files.
    pub fn with_place_for_files(size: &str, files: u32) -> Option<(Self, Place)> {
        let options = format!("size={size},nr_inodes={files}");
        let source = ["-t", "tmpfs", "-o", &options, "tmpfs"].map(OsString::from);
        Self::mounted(tempfile::tempdir().unwrap(), source.to_vec()).map(Self::and_place)
    }

    /// Returns an ext4 file system of `size` on a device that can store only `memory`. Beyond that,
    /// the kernel accepts writes, and they fail when they are synced.
    pub fn with_place_on_scarce_memory(size: &str, memory: &str) -> Option<(Self, Place)> {
        if !needs::are_met(Root::Needed, &["mkfs.ext4", "mount", "unshare", "nsenter"]) {
            return None;
        }
        let scratch = tempfile::tempdir().unwrap();
        let device = scratch.path().join("device");
        std::fs::create_dir(&device).unwrap();
        let namespace = Namespace::new();
        let mut mount = namespace.command("mount");
        let options = format!("size={memory}");
        run(mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&device))
        .unwrap();
        let image = device.join("image");
        let mut truncate = namespace.command("truncate");
        run(truncate.args(["-s", size]).arg(&image)).unwrap();
        let mut mkfs = namespace.command("mkfs.ext4");
        run(mkfs.args(["-q", "-J", "size=4"]).arg(&image)).unwrap();
        let options = "loop,errors=remount-ro";
        let source = vec!["-o".into(), options.into(), image.into()];
        Self::mounted_in(namespace, scratch, source).map(Self::and_place)
    }

    /// Enlarges the memory of the device of `with_place_on_scarce_memory`.
    pub fn grow_memory(&self, memory: &str) {
        let device = self.mount_point.with_file_name("device");
        let mut mount = self.namespace.command("mount");
        let options = format!("remount,size={memory}");
        run(mount.args(["-o", &options]).arg(device)).unwrap();
    }

    fn mounted(scratch: TempDir, source: Vec<OsString>) -> Option<(Self, TempDir)> {
        let tools = ["mount", "unshare", "nsenter", "python3"];
        if !needs::are_met(Root::Needed, &tools) {
            return None;
        }
        Self::mounted_in(Namespace::new(), scratch, source)
    }

    fn mounted_in(
        namespace: Namespace,
        scratch: TempDir,
        source: Vec<OsString>,
    ) -> Option<(Self, TempDir)> {
        let mount_point = scratch.path().join("disk");
        std::fs::create_dir(&mount_point).unwrap();
        let disk = Self {
            namespace,
            source,
            mount_point,
        };
        if let Err(reason) = disk.try_mount() {
            needs::skip(&format!("a disk cannot be mounted here: {reason}"));
            return None;
        }
        Some((disk, scratch))
    }

    fn and_place((disk, scratch): (Self, TempDir)) -> (Self, Place) {
        let seen = disk.namespace.path(&disk.mount_point);
        let entering = disk.namespace.entering();
        let place = Place::in_folder(scratch, &disk.mount_point, seen, entering);
        (disk, place)
    }

    /// The path by which the receiver sees a file of the disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.mount_point.join(name)
    }

    /// The path by which the test sees a file of the disk.
    pub fn seen(&self, name: &str) -> PathBuf {
        self.namespace.path(&self.path(name))
    }

    /// Remounts the disk as `ro` or `rw` while files on it are open.
    pub fn remount(&self, how: &str) {
        let mut mount = self.namespace.command("mount");
        let options = format!("remount,{how}");
        run(mount.args(["-o", &options]).arg(&self.mount_point)).unwrap();
    }

    /// Builds a command that sees the disk at the same path as the receiver.
    pub fn command(&self, name: &str) -> Command {
        self.namespace.command(name)
    }

    /// Cuts the power: nothing reaches the disk any more, and data that was only in the system's
    /// memory is lost.
    pub fn cut_power(&self) {
        let mut python = self.namespace.command("python3");
        run(python.args(["-c", POWER_CUT]).arg(&self.mount_point)).unwrap();
    }

    /// Makes the kernel report an error in the file system, which turns it read-only under all open
    /// files.
    pub fn turn_read_only(&self) {
        let mounts = format!("/proc/{}/mounts", self.namespace.holder.id());
        let mounts = std::fs::read_to_string(mounts).unwrap();
        let mount_point = self.mount_point.display().to_string();
        let of_disk = |line: &&str| line.split(' ').nth(1) == Some(&mount_point);
        let line = mounts.lines().find(of_disk).expect("it is mounted");
        let device = line
            .split(' ')
            .next()
            .and_then(|path| path.strip_prefix("/dev/"));
        let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", device.unwrap());
        std::fs::write(trigger, "1").unwrap();
    }

    /// Mounts the disk again. No process may have a file of it open.
    pub fn restore_power(&self) {
        run(self.namespace.command("umount").arg(&self.mount_point)).unwrap();
        self.try_mount().unwrap();
    }

    fn try_mount(&self) -> Result<(), String> {
        let mut mount = self.namespace.command("mount");
        run(mount.args(&self.source).arg(&self.mount_point))
    }
}

impl Namespace {
    fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .args(["sh", "-c", "echo here; read -r _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = holder.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "here\n", "a namespace can be made");
        Self { holder }
    }

    /// The command that enters the namespace. It replaces itself with the wanted command, so the
    /// pid is that command's pid.
    fn entering(&self) -> Vec<OsString> {
        let mount = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        vec!["nsenter".into(), mount.into(), "--".into()]
    }

    fn command(&self, name: &str) -> Command {
        let words = self.entering();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(name);
        command
    }

    /// The path by which a file in the namespace is reached from outside.
    fn path(&self, inside: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(inside.strip_prefix("/").unwrap())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}", said.trim()))
}
