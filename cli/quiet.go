package cli

import (
	"context"
	"log/slog"

	"k8s.io/klog/v2"
)

// quiet sends what Kubernetes' libraries log to log at debug level: they call it an error when a client hangs up.
func quiet(log *slog.Logger) { klog.SetSlogLogger(slog.New(demoted{log.Handler()})) }

// demoted is a handler whose records are all for debugging.
type demoted struct{ slog.Handler }

func (d demoted) Enabled(ctx context.Context, _ slog.Level) bool {
	return d.Handler.Enabled(ctx, slog.LevelDebug)
}

func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	if !d.Handler.Enabled(ctx, slog.LevelDebug) { // klog does not ask before errors
		return nil
	}
	r.Level = slog.LevelDebug
	return d.Handler.Handle(ctx, r)
}

func (d demoted) WithAttrs(as []slog.Attr) slog.Handler { return demoted{d.Handler.WithAttrs(as)} }
func (d demoted) WithGroup(name string) slog.Handler    { return demoted{d.Handler.WithGroup(name)} }
