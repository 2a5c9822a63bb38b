package store

import (
	"slices"

	"pintle.dev/api"
)

// group is the cursors of a table that want the same events. They stay in it while their owners are busy, so that an
// event costs each of them one send and no lock.
type group struct {
	match   []api.Index
	cursors []*Cursor
	shared  bool         // a wake has the cursors: they are not to be changed, only added to
	last    api.Revision // of the last event that matched
	wake    int          // where the wake of that event is among those of its publication
}

// wake is an event and whom to hand it to.
type wake struct {
	cursors []*Cursor
	event   api.Event
}

// send hands the event over and waits for nobody. Wakes of one cursor must be sent in the order of the log, by one
// goroutine at a time.
func (w *wake) send() {
	for _, c := range w.cursors {
		if c.lost.Load() {
			continue // its owner has yet to see that, and reads the log then
		}
		select {
		case c.wake <- w.event:
			continue
		default:
		}
		c.lost.Store(true)
		// Its owner may have emptied wake before lost was set, and be waiting now.
		select {
		case c.wake <- w.event:
		default:
		}
	}
}

// join makes the cursor one of those that events are handed to.
func (l *eventLog) join(c *Cursor) {
	c.group = l.groupOf(c.match)
	c.group.cursors = append(c.group.cursors, c)
}

func (l *eventLog) groupOf(match []api.Index) *group {
	if len(match) == 0 {
		return &l.all
	}
	x := match[0]
	for _, g := range l.groups[x] {
		if slices.Equal(g.match, match) {
			return g
		}
	}
	g := &group{match: match}
	l.groups[x] = append(l.groups[x], g)
	l.names[x.Name]++
	return g
}

func (l *eventLog) leave(c *Cursor) {
	g := c.group
	if g.shared {
		g.cursors, g.shared = slices.Clone(g.cursors), false
	}
	g.cursors = without(g.cursors, c)
	if len(g.cursors) > 0 || len(g.match) == 0 {
		return
	}
	x := g.match[0]
	groups, n := l.groups[x], len(l.groups[x])
	if groups = without(groups, g); len(groups) == n {
		return // the table was dropped
	}
	if len(groups) == 0 {
		delete(l.groups, x)
	} else {
		l.groups[x] = groups
	}
	if l.names[x.Name]--; l.names[x.Name] == 0 {
		delete(l.names, x.Name)
	}
}

// without removes one element, not keeping the order.
func without[T comparable](s []T, x T) []T {
	i := slices.Index(s, x)
	if i < 0 {
		return s
	}
	last := len(s) - 1
	s[i] = s[last]
	clear(s[last:])
	return s[:last]
}

// wakes appends to those of a publication, whose first event is from, what an event adds. They are to be sent once all
// locks are released. Only the entries the event has are looked up, whatever others wait for.
func (l *eventLog) wakes(e *api.Event, from api.Revision, woken []wake) []wake {
	woken = l.all.take(e, from, woken)
	if len(l.names) == 0 {
		return woken
	}
	for _, rec := range [...]*api.Record{e.Old, e.New} {
		if rec == nil {
			continue
		}
		if l.names[IndexNamespace] > 0 {
			woken = l.take(api.Index{Name: IndexNamespace, Value: rec.Namespace()}, e, from, woken)
		}
		if l.names[IndexName] > 0 {
			woken = l.take(api.Index{Name: IndexName, Value: rec.Name()}, e, from, woken)
		}
		for name, value := range rec.Indexes() {
			if l.names[name] > 0 {
				woken = l.take(api.Index{Name: name, Value: value}, e, from, woken)
			}
		}
	}
	return woken
}

func (l *eventLog) take(x api.Index, e *api.Event, from api.Revision, woken []wake) []wake {
	for _, g := range l.groups[x] {
		if len(g.match) == 1 || matches(g.match, e) {
			woken = g.take(e, from, woken)
		}
	}
	return woken
}

// take appends the wake of an event. Of several events of one publication the cursors are told together, to read them
// from the log, so that their owners may pass them on together.
func (g *group) take(e *api.Event, from api.Revision, woken []wake) []wake {
	switch {
	case len(g.cursors) == 0 || g.last == e.Revision:
		return woken // nobody, or it was found by another entry already
	case g.last >= from:
		woken[g.wake] = wake{g.cursors, api.Event{Revision: from - 1}} // others may have joined between the two events
	default:
		g.wake = len(woken)
		woken = append(woken, wake{g.cursors, *e})
		g.shared = true
	}
	g.last = e.Revision
	return woken
}

// close ends all cursors with an error and returns how to tell them.
func (l *eventLog) close(err error) []wake {
	l.closed = err
	woken := []wake{{cursors: l.all.cursors}}
	l.all.shared = true
	for _, groups := range l.groups {
		for _, g := range groups {
			woken = append(woken, wake{cursors: g.cursors})
			g.shared = true
		}
	}
	return woken
}
