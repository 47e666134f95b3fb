//! Device rules on cgroup v2: a small BPF program that the kernel asks at each open and mknod.
//! Upstream: runc's libcontainer/cgroups/devices/devicefilter.go.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::DeviceRule;

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// One instruction, as linux/bpf.h lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// Registers: the result, the context, and what is read from it.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

fn load_word(to: u8, offset: i16) -> Instruction {
    Instruction { code: 0x61, registers: to | CONTEXT << 4, offset, immediate: 0 }
}

fn and(register: u8, immediate: i32) -> Instruction {
    Instruction { code: 0x54, registers: register, offset: 0, immediate }
}

fn shift_right(register: u8, immediate: i32) -> Instruction {
    Instruction { code: 0x74, registers: register, offset: 0, immediate }
}

fn set(register: u8, immediate: i32) -> Instruction {
    Instruction { code: 0xb7, registers: register, offset: 0, immediate }
}

fn copy(to: u8, from: u8) -> Instruction {
    Instruction { code: 0xbc, registers: to | from << 4, offset: 0, immediate: 0 }
}

/// Jumps when the register is not the number; where to is filled in later.
fn unless(register: u8, immediate: i32) -> Instruction {
    Instruction { code: 0x55, registers: register, offset: 0, immediate }
}

/// Jumps when the registers differ.
fn unless_same(one: u8, other: u8) -> Instruction {
    Instruction { code: 0x5d, registers: one | other << 4, offset: 0, immediate: 0 }
}

const EXIT: Instruction = Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 };

/// A program that answers 1 where a rule allows what is asked.
fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    // The context has kind and access in one word, then the device's numbers.
    let mut code = vec![
        load_word(KIND, 0),
        and(KIND, 0xffff),
        load_word(ACCESS, 0),
        shift_right(ACCESS, 16),
        load_word(MAJOR, 4),
        load_word(MINOR, 8),
    ];
    for rule in rules {
        let mut block = Vec::new();
        match rule.kind {
            'b' => block.push(unless(KIND, 1)),
            'c' => block.push(unless(KIND, 2)),
            _ => {}
        }
        let bits = [('m', 1), ('r', 2), ('w', 4)].into_iter().filter(|(letter, _)| rule.access.contains(*letter));
        let access: i32 = bits.map(|(_, bit)| bit).sum();
        if access != 7 {
            // All that is asked for must be among what is allowed. The context is not read again.
            block.extend([copy(CONTEXT, ACCESS), and(CONTEXT, access), unless_same(CONTEXT, ACCESS)]);
        }
        let number = |register, number: Option<u32>| number.map(|n| unless(register, n.cast_signed()));
        block.extend(number(MAJOR, rule.major));
        block.extend(number(MINOR, rule.minor));
        block.extend([set(RESULT, 1), EXIT]);
        let length = block.len();
        for (at, instruction) in block.iter_mut().enumerate() {
            if matches!(instruction.code, 0x55 | 0x5d) {
                // Relative to the next instruction; a block is a handful long.
                instruction.offset = (length - at - 1) as i16;
            }
        }
        code.extend(block);
    }
    code.extend([set(RESULT, 0), EXIT]);
    code
}

/// Restricts the group of directory `dir` to `rules`, beside what its parents restrict.
pub(super) fn attach(dir: &Path, rules: &[DeviceRule]) -> io::Result<()> {
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        rest: [u64; 14],
    }
    #[repr(C)]
    #[derive(Default)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
        rest: [u64; 16],
    }
    let code = program(rules);
    let load = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(code.len()).map_err(io::Error::other)?,
        instructions: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: the structures are as long as said; what they point to lives until the call has returned.
    let loaded = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &load, size_of::<Load>()) };
    if loaded < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call answered a new descriptor, which fits.
    let loaded = unsafe { OwnedFd::from_raw_fd(loaded as i32) };
    let group = File::open(dir)?;
    let attach = Attach {
        target: group.as_raw_fd().cast_unsigned(),
        program: loaded.as_raw_fd().cast_unsigned(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
        ..Attach::default()
    };
    // SAFETY: as above.
    match unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &attach, size_of::<Attach>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer.
    fn run(code: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> u32 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_u32; 6];
        let mut at = 0_usize;
        loop {
            let Instruction { code, registers: r, offset, immediate } = code[at];
            let (to, from) = ((r & 15) as usize, (r >> 4) as usize);
            let mut jump = false;
            match code {
                0x61 => registers[to] = context[offset as usize / 4],
                0x54 => registers[to] &= immediate.cast_unsigned(),
                0x74 => registers[to] >>= immediate,
                0xb7 => registers[to] = immediate.cast_unsigned(),
                0xbc => registers[to] = registers[from],
                0x55 => jump = registers[to] != immediate.cast_unsigned(),
                0x5d => jump = registers[to] != registers[from],
                0x95 => return registers[0],
                other => panic!("unknown code {other:#x}"),
            }
            at += 1 + if jump { offset as usize } else { 0 };
        }
    }

    #[test]
    fn rules_allow_what_they_say() {
        let code = program(&[
            DeviceRule { kind: 'b', major: None, minor: None, access: "m" },
            DeviceRule { kind: 'c', major: Some(1), minor: Some(3), access: "rwm" },
            DeviceRule { kind: 'c', major: Some(136), minor: None, access: "rw" },
        ]);
        let (block, char, make, read, write) = (1, 2, 1, 2, 4);
        for (kind, access, major, minor, allowed) in [
            (block, make, 8, 0, 1),
            (block, read, 8, 0, 0),
            (block, make | read, 8, 0, 0),
            (char, read | write, 1, 3, 1),
            (char, read, 1, 1, 0),
            (char, read | write, 136, 7, 1),
            (char, make, 136, 7, 0),
        ] {
            assert_eq!(run(&code, kind, access, major, minor), allowed, "{kind} {access} {major}:{minor}");
        }
        assert_eq!(run(&program(&[DeviceRule::ALL]), block, 7, 8, 0), 1);
        assert_eq!(run(&program(&[]), char, read, 1, 3), 0);
    }
}
