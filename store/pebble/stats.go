package pebble

// Stats are what the engine has written since it was opened, and what it holds, in bytes.
type Stats struct {
	Log       uint64 // written to the log
	Flushed   uint64 // written to tables from memory
	Compacted uint64 // written to tables from tables
	Disk      uint64 // of all files now
	Memory    uint64 // of what is not flushed yet, reserved
}

// Stats returns the engine's counts; zeros once it has been closed.
func (b *Backend) Stats() Stats {
	leave, err := b.enter()
	if err != nil {
		return Stats{}
	}
	defer leave()
	m := b.db.Metrics()
	s := Stats{Log: m.WAL.BytesWritten, Disk: m.DiskSpaceUsage(), Memory: m.MemTable.Size}
	for _, l := range m.Levels {
		s.Flushed += l.TableBytesFlushed
		s.Compacted += l.TableBytesCompacted
	}
	return s
}
