//! The grain of a local disk's file times. The reasons are in `strength.rs`.

use std::time::Duration;

/// Returns the grain of the file times under `root_url`, or `None` if each write gets a time of its
/// own. Two seconds where this machine does not tell.
pub(crate) fn grain(root_url: &str) -> Option<Duration> {
    #[cfg(target_os = "linux")]
    if let Some(found) = linux::grain(root_url) {
        return found;
    }
    let _ = root_url;
    Some(SECONDS)
}

/// The grain of file systems that count seconds (FAT counts two), and of HTTP dates.
pub(crate) const SECONDS: Duration = Duration::from_secs(2);

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        ffi::OsString,
        fs,
        os::unix::{ffi::OsStringExt, fs::MetadataExt},
        path::{Path, PathBuf},
        time::Duration,
    };

    use super::SECONDS;

    pub(super) fn grain(root_url: &str) -> Option<Option<Duration>> {
        let root = path_of(root_url)?;
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
        let mounts = fs::read("/proc/self/mountinfo").ok()?;
        let found = grain_of(&release, &mounts, &root);
        if found == Some(SECONDS) {
            return Some(found);
        }
        // ext4 with small inodes counts seconds, and its name does not say so; the root's change
        // time does, which no program can set.
        let counts_seconds = fs::metadata(&root).ok()?.ctime_nsec() == 0;
        Some(if counts_seconds { Some(SECONDS) } else { found })
    }

    /// Returns the grain on a kernel of `release`, for the worst file system at `root` or mounted
    /// below it.
    fn grain_of(release: &str, mountinfo: &[u8], root: &Path) -> Option<Duration> {
        let mounts: Vec<_> =
            mountinfo.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect();
        let depth = |mount: &Mount<'_>| mount.point.components().count();
        let holds_root = mounts.iter().filter(|mount| root.starts_with(&mount.point));
        // Of two mounts at one place the later one hides the other, mostly; both are looked at.
        let Some(deepest) = holds_root.map(depth).max() else {
            return Some(SECONDS);
        };
        let is_used = |mount: &Mount<'_>| {
            mount.point.starts_with(root)
                || (root.starts_with(&mount.point) && depth(mount) == deepest)
        };
        if !mounts.iter().filter(|mount| is_used(mount)).all(Mount::is_fine) {
            return Some(SECONDS);
        }
        match kernel(release) {
            Some(version) if version >= MULTIGRAIN => None,
            _ => Some(TICKS),
        }
    }

    /// Major and minor number of a release such as `6.1.0-18-amd64`.
    fn kernel(release: &str) -> Option<(u32, u32)> {
        let mut numbers = release.trim().split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    /// What a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)) says of a mounted file system.
    struct Mount<'a> {
        point: PathBuf,
        fs_type: &'a [u8],
    }

    impl<'a> Mount<'a> {
        fn parse(line: &'a [u8]) -> Option<Self> {
            let mut fields = line.split(|byte| *byte == b' ');
            let point = fields.nth(4)?;
            let fs_type = fields.skip_while(|field| *field != b"-").nth(1)?;
            Some(Self { point: unescape(point, b'\\', 3, 8)?, fs_type })
        }

        fn is_fine(&self) -> bool {
            FINE.contains(&self.fs_type)
        }
    }

    fn path_of(url: &str) -> Option<PathBuf> {
        unescape(url.strip_prefix("file://")?.as_bytes(), b'%', 2, 16)
    }

    /// `text` with each `escape` and `digits` digits of base `radix` as the byte they stand for.
    fn unescape(text: &[u8], escape: u8, digits: usize, radix: u32) -> Option<PathBuf> {
        let mut plain = Vec::with_capacity(text.len());
        let mut rest = text;
        while let [first, tail @ ..] = rest {
            if *first == escape {
                let code = std::str::from_utf8(tail.get(..digits)?).ok()?;
                plain.push(u8::from_str_radix(code, radix).ok()?);
                rest = &tail[digits..];
            } else {
                plain.push(*first);
                rest = tail;
            }
        }
        Some(OsString::from_vec(plain).into())
    }

    /// File systems that keep nanoseconds, and take multigrain timestamps where the kernel has
    /// them.
    const FINE: [&[u8]; 4] = [b"ext4", b"xfs", b"btrfs", b"tmpfs"];

    /// The first kernel with multigrain timestamps.
    const MULTIGRAIN: (u32, u32) = (6, 13);

    /// Two ticks of the slowest clock that stamps files, 100 a second.
    const TICKS: Duration = Duration::from_millis(20);

    #[cfg(test)]
    mod tests {
        use super::*;

        const STRONG: Option<Duration> = None;
        const TICKING: Option<Duration> = Some(TICKS);
        const COARSE: Option<Duration> = Some(SECONDS);

        const MOUNTS: &str = r"22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda1 rw,discard
31 27 8:1 / /data rw,noatime shared:3 - xfs /dev/sdb rw
32 31 8:2 / /data/usb\040stick rw - vfat /dev/sdc rw
33 27 0:30 / /run rw - tmpfs tmpfs rw
34 27 0:31 / /over rw - overlay overlay rw
35 27 8:3 / /twice rw - ext4 /dev/sdd rw
36 35 0:32 / /twice rw - nfs4 server:/ rw
37 27 0:33 / /raid rw - btrfs /dev/sde rw
a line that is none
";

        #[track_caller]
        fn check(release: &str, root: &str, expected: Option<Duration>) {
            assert_eq!(
                grain_of(release, MOUNTS.as_bytes(), Path::new(root)),
                expected,
                "{release} {root}"
            );
        }

        #[test]
        fn the_file_system_at_the_root_decides() {
            for root in ["/home/me", "/data/sets", "/run/cache", "/raid", "/database"] {
                check("6.13.0", root, STRONG);
                check("6.12.9", root, TICKING);
            }
            for root in ["/over/lay", "/proc/self"] {
                check("6.13.0", root, COARSE);
            }
        }

        #[test]
        fn what_is_mounted_above_the_root_does_not_count() {
            let mounts =
                b"27 1 0:9 / / rw - overlay overlay rw\n31 27 8:1 / /data rw - xfs /dev/sdb rw";
            assert_eq!(grain_of("6.13.0", mounts, Path::new("/data/sets")), STRONG);
            assert_eq!(grain_of("6.13.0", mounts, Path::new("/home")), COARSE);
        }

        #[test]
        fn so_does_every_one_mounted_below_it() {
            check("6.13.0", "/data", COARSE);
            check("6.13.0", "/data/usb stick/a", COARSE);
            check("6.13.0", "/data/usb", STRONG);
            check("6.13.0", "/", COARSE);
        }

        #[test]
        fn of_two_mounts_at_one_place_the_worse_counts() {
            check("6.13.0", "/twice/a", COARSE);
        }

        #[test]
        fn what_cannot_be_read_is_coarse() {
            assert_eq!(grain_of("6.13.0", b"", Path::new("/a")), COARSE);
            assert_eq!(grain_of("6.13.0", b"36 35 0:32 / /bad\\04", Path::new("/")), COARSE);
            check("", "/home", TICKING);
        }

        #[test]
        fn releases_are_compared_by_number() {
            for release in ["6.13.0-rc1", "6.18.44-custom", "6.100", "7.0.1\n", "10.2.3-generic"] {
                check(release, "/home", STRONG);
            }
            for release in
                ["6.1.0-18-amd64", "5.15.0-91-generic", "6.9", "4.18.0-553.el8.x86_64", "6", "x.y"]
            {
                check(release, "/home", TICKING);
            }
        }

        #[test]
        fn a_root_is_the_path_of_its_url() {
            assert_eq!(path_of("file:///tmp/a%20b/%C3%BC"), Some("/tmp/a b/ü".into()));
            assert_eq!(path_of("file:///"), Some("/".into()));
            for url in ["https://host/", "file:///a%2", "file:///a%zz"] {
                assert_eq!(path_of(url), None);
            }
        }

        #[test]
        fn this_machine_says_something() {
            assert!(grain("file:///").is_some());
        }
    }
}
