// Package store keeps every object of the cluster: each once, as an immutable api.Record, in tables that all readers
// share, with the log of what happened to them.
//
// It knows no kinds, no API versions and no users; it is not a cache in front of something else, and not a general
// database: keys are resource, namespace and name, values are records, and the only order is that of commits.
//
// A write goes
//
//	Commit -> queue -> one leader takes all that waits as a group -> expectations are checked against the tables and
//	the group itself, writes are numbered and stamped -> Backend.Commit (one sync) -> publish: tables, then event
//	logs -> callers are answered -> cursors are handed the events
//
// and the next group fills while the disk syncs. A read takes a View, which is the root pointer of the copy-on-write
// trees: it locks nothing and is never changed. A watch takes a Cursor: it holds a revision and room for one event. While
// it keeps up it is handed each event without a lock; otherwise it reads the table's event log from its revision; what
// has left memory is read back from the backend. Rejected: a committer goroutine (two goroutine switches for each uncontended commit), a queue per watcher (a
// slow one either blocks the writer or is dropped), checking expectations in the backend (a read of the disk per write).
//
// Invariants, each with a test that names it:
//
//   - S1 Every written or deleted object gets a revision of its own, strictly increasing and never used twice: not
//     after a crash, a compaction or a restore, which adds 2^32. The objects of one commit have contiguous revisions
//     that become visible together, so a watch that is cut between two of its events resumes without loss.
//   - S2 A commit is acknowledged only when it is durable and applied: a writer reads its own write.
//   - S3 A sync that failed is never acknowledged and never tried again as if it could succeed. The store stops: every
//     later call returns the reason, and Failed is closed for the process to exit.
//   - S4 A table shows a change before its log has the event, and the log has it before a cursor is handed it.
//   - S5 Records never change. A View is one revision across all tables. At shows a table as it was at an earlier one,
//     so that a list in pages is one snapshot, or says ErrExpired.
//   - S6 A Cursor delivers every later event of its table (that matches), in order, once, or says ErrExpired. It never
//     delays a writer, however slow it is.
//   - S7 Of two writers that expect the same revision of an object at most one wins. All expectations of a commit,
//     guards included, hold at the one point in the order where it takes effect. (That an update which changes nothing
//     is not committed is the caller's to see.)
//   - S8 After a crash, a commit that was not acknowledged is wholly there or wholly absent.
//   - S9 A disk about to be full refuses writes with ErrFull while the backend can still do its own work. Reads go on,
//     deletions do until much less is left, and all writes as soon as space is free.
package store
