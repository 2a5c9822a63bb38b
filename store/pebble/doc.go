// Package pebble is the embedded store.Backend: records in a Pebble database (an LSM tree with a write-ahead log) in one
// directory of this machine.
//
// It holds no objects in memory: the Store in front of it reads everything once when it opens and asks for single
// versions only when a cursor is behind the events in memory. A group of commits is one Pebble batch with one sync.
//
// # Disk format, version 1
//
// Integers in keys are big-endian, so that keys sort by them. A table is a resource's incarnation: its number (32 bits)
// is given out in ascending order when the resource is first written, and never again.
//
//	m format                                    the format version, decimal
//	m revision                                  u64, of the last commit
//	m horizon                                   u64, up to which superseded versions and events may be gone
//	m tables                                    u32, the last table number given out
//	t GROUP 00 NAME                             u32, the resource's table
//	d GROUP 00 NAME                             u64, the revision at which the resource was last dropped
//	l LOG                                       u64, the log file marked before this one (0: none); see lost.go
//	v TABLE NAMESPACE 00 NAME 00 ^REVISION      a version: Record.AppendBinary, or nothing for a deletion
//	e TABLE REVISION                            an event: uvarint of the superseded version's revision (0: none),
//	                                            1 or 0 (deleted), NAMESPACE 00 NAME
//
// The first version of an object in key order is its newest. Each version is stored once; events refer to two. A
// version is deleted when the event that superseded it is at or before the horizon, a deletion's empty version when
// its own event is. Blocks and footers of tables and chunks of the log carry Pebble's checksums (CRC-32C): what does not
// match them is reported, never returned, and ends the backend when it is met after opening. Beside Pebble's files the
// directory has its lock file LOCK, ballast, which holds space that is given back when the disk runs full, and revision,
// a revision in decimal that the store has reached.
package pebble
