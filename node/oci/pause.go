package oci

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
)

// PauseName is the sandbox image's name: Pintle's own, made here and never downloaded.
const PauseName = "pintle.dev/pause:1"

// WritePause writes the archive of the sandbox image under a name. Its one program does nothing but exist, and reaps
// what a shared process namespace leaves to it.
func WritePause(w io.Writer, name string) error {
	program, err := pause(runtime.GOARCH)
	if err != nil {
		return err
	}
	return Write(w, Image{Name: name, Files: map[string][]byte{"/pause": program}, Entrypoint: []string{"/pause"}})
}

// The layout of the program: an ELF header and one program header, then code, loaded together at base.
const (
	base   = 0x400000
	header = 64 + 56
)

// pause is a static ELF program of some 200 bytes, written down by hand so that no compiler and no download is needed:
//
//	sigaction(SIGCHLD, {SIG_IGN, SA_NOCLDWAIT}, NULL, 8)   // the kernel reaps orphans
//	for { pause() }                                         // as PID 1 it ends by SIGKILL only
func pause(arch string) ([]byte, error) {
	var code []byte
	var machine uint16
	le := binary.LittleEndian
	switch arch {
	case "amd64":
		machine = 62
		code = []byte{
			0xb8, 13, 0, 0, 0, // mov eax, 13 (rt_sigaction)
			0xbf, 17, 0, 0, 0, // mov edi, 17 (SIGCHLD)
			0x48, 0x8d, 0x35, 19, 0, 0, 0, // lea rsi, [rip+19] (the action, behind the code)
			0x31, 0xd2, // xor edx, edx
			0x41, 0xba, 8, 0, 0, 0, // mov r10d, 8
			0x0f, 0x05, // syscall
			0xb8, 34, 0, 0, 0, // mov eax, 34 (pause)
			0x0f, 0x05, // syscall
			0xeb, 0xf7, // jmp back to pause
		}
	case "arm64":
		machine = 183
		word := func(w uint32) { code = le.AppendUint32(code, w) }
		movz := func(reg, value uint32) { word(0xd2800000 | value<<5 | reg) }
		movz(8, 134)             // rt_sigaction
		movz(0, 17)              // SIGCHLD
		word(0x10000001 | 11<<5) // adr x1, 11 words on (the action, behind the code)
		movz(2, 0)
		movz(3, 8)
		word(0xd4000001) // svc 0
		movz(8, 73)      // ppoll of nothing, without end
		movz(0, 0)
		movz(1, 0)
		movz(2, 0)
		movz(3, 0)
		word(0xd4000001)                        // svc 0
		word(0x14000000 | uint32(0x3ffffff&-6)) // b back to ppoll's number
	default:
		return nil, fmt.Errorf("there is no sandbox program for %s", arch)
	}
	code = le.AppendUint64(code, 1) // SIG_IGN
	code = le.AppendUint64(code, 2) // SA_NOCLDWAIT
	code = append(code, make([]byte, 16)...)

	elf := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	elf = le.AppendUint16(elf, 2) // executable
	elf = le.AppendUint16(elf, machine)
	elf = le.AppendUint32(elf, 1)
	elf = le.AppendUint64(elf, base+header) // entry
	elf = le.AppendUint64(elf, 64)          // program headers
	elf = le.AppendUint64(elf, 0)           // no sections
	elf = le.AppendUint32(elf, 0)
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} { // sizes and counts of headers
		elf = le.AppendUint16(elf, v)
	}
	size := uint64(header + len(code))
	elf = le.AppendUint32(elf, 1) // load
	elf = le.AppendUint32(elf, 5) // readable, executable
	for _, v := range []uint64{0, base, base, size, size, 0x10000} {
		elf = le.AppendUint64(elf, v)
	}
	return append(elf, code...), nil
}
