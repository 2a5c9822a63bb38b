// Package http2 serves HTTP/2 connections (RFC 9113) for a net/http server: net/http accepts them, agrees on the protocol
// and calls the same handlers; this package reads the frames, keeps the streams and writes the answers. Frames are parsed
// by golang.org/x/net/http2's Framer and header blocks by its hpack, so that what is here is the state of streams and
// windows, and who writes when.
//
// It exists for its cost. net/http has a goroutine for each connection's state and another for each write, and every
// answer and every event of a watch passes through both: four switches of goroutines for each. Here a connection is a mutex. One goroutine reads frames; handlers put their frames in the connection's output
// themselves, and the first who finds nobody writing writes what has gathered, its own and others'.
//
// It is no client, offers no server push and no priorities (RFC 9113 deprecates both), no WebSockets over HTTP/2, and
// none of net/http's options beside Handler, ErrorLog, IdleTimeout and the contexts: what Pintle's server does not set.
//
// What always holds:
//
//   - H1 The goroutine that reads never waits for one that writes: a client that does not read is still heard, until its
//     connection is being left.
//   - H2 A connection holds at most window bytes of bodies that handlers have not read, and about outMost bytes of output
//     beside what one frame's writer adds; headers, and frames that only answer others (PING, SETTINGS, resets), wait for
//     no room, but close a connection that lets more than controlMost bytes of them gather.
//   - H3 At most 2*maxStreams handlers run for a connection, however fast its client resets streams.
//   - H4 The order of header blocks in the output is the order in which they were compressed.
//   - H5 A handler that waits for its client, for a body, a window or room in the output, ends its wait when the stream
//     is reset, the connection ends or its deadline passes. Only one can be writing to the socket; it waits for TCP, and
//     when it still does writeWait after its deadline, the connection is closed, as nothing can follow a record half
//     written.
package http2
