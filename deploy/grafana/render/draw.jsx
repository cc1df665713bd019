// Draws one dashboard from its JSON and what its queries returned, with the components that Grafana
// itself consists of. The page sets window.DRAW = {board, from_s, to_s, shown}; see draw.mjs.
import 'uplot/dist/uPlot.min.css';
import React from 'react';
import { createRoot } from 'react-dom/client';
import {
  FieldType, ThemeContext, createTheme, dateTime, getDisplayProcessor,
  renderTextPanelMarkdown,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, TimeSeries } from '@grafana/ui';

const { board, from_s, to_s, shown } = window.DRAW;
const theme = createTheme({ colors: { mode: 'dark' } });
// Grafana's grid: 24 columns, rows of 30 pixels, 8 between panels.
const WIDTH = 1600, COLUMNS = 24, ROW = 30, GAP = 8, HEAD = 56;
const range = { from: dateTime(from_s * 1000), to: dateTime(to_s * 1000) };
range.raw = { from: range.from, to: range.to };

const place = ({ x, y, w, h }) => ({
  left: (x * (WIDTH - GAP)) / COLUMNS + GAP, top: y * (ROW + GAP) + HEAD,
  width: (w * (WIDTH - GAP)) / COLUMNS - GAP, height: h * (ROW + GAP) - GAP,
});

const named = (legend, metric) => legend === '__auto'
  ? Object.values(metric).join(' ') || 'value'
  : legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? '');

// One frame per series, with the panel's field options, as Grafana makes them.
function frames(panel) {
  const { defaults } = panel.fieldConfig, made = [];
  for (const target of panel.targets) {
    for (const { metric, values } of shown[`${board.uid}: ${panel.title} (${target.refId})`] ?? []) {
      const config = {
        ...defaults, displayNameFromDS: named(target.legendFormat, metric),
        color: panel.type === 'timeseries' ? { mode: 'palette-classic' } : { mode: 'thresholds' },
      };
      const value = {
        name: 'Value', type: FieldType.number, config, labels: metric,
        values: values.map(([, text]) => (text === 'NaN' ? null : Number(text.replace('Inf', 'Infinity')))),
        state: { seriesIndex: made.length, displayName: config.displayNameFromDS },
      };
      value.display = getDisplayProcessor({ field: value, theme, timeZone: 'utc' });
      const time = { name: 'Time', type: FieldType.time, config: {}, values: values.map(([at]) => at * 1000) };
      time.display = getDisplayProcessor({ field: time, theme, timeZone: 'utc' });
      made.push({ refId: target.refId, length: values.length, fields: [time, value], metric });
    }
  }
  return made;
}

const last = (frame) => frame.fields[1].values.at(-1);
const Nothing = () => <div className="nothing">No data</div>;

function Numbers({ panel, width, height }) {
  const all = frames(panel), each = all.length ? width / all.length : width;
  if (!all.length) return <Nothing />;
  return <div style={{ display: 'flex', gap: 4 }}>{all.map((frame, at) => {
    const value = frame.fields[1].display(last(frame));
    if (panel.options.textMode === 'value_and_name') value.title = frame.fields[1].config.displayNameFromDS;
    return <BigValue key={at} theme={theme} value={value} width={each - 4} height={height}
      colorMode={panel.options.colorMode} graphMode="none" justifyMode="auto" textMode={panel.options.textMode} />;
  })}</div>;
}

function Bars({ panel, width, height }) {
  const all = frames(panel), each = Math.min(height / Math.max(all.length, 1), 48);
  if (!all.length) return <Nothing />;
  const highest = Math.max(1, ...all.map(last));
  return all.map((frame, at) => {
    const field = frame.fields[1];
    field.config = { ...field.config, min: 0, max: highest };
    const value = { ...field.display(last(frame)), title: field.config.displayNameFromDS };
    return <BarGauge key={at} theme={theme} value={value} field={field.config} display={field.display}
      width={width} height={each - 6} orientation="horizontal" displayMode="basic" showUnfilled
      alignmentFactors={{ title: 'a long name of a cause', text: '1000' }} />;
  });
}

function Rows({ panel }) {
  const columns = panel.transformations.find((each) => each.id === 'organize').options;
  const names = Object.entries(columns.indexByName).sort((a, b) => a[1] - b[1]).map(([name]) => name);
  const all = frames(panel);
  if (!all.length) return <div className="nothing">{panel.fieldConfig.defaults.noValue}</div>;
  const cell = (frame, name) => (name === 'Value' ? last(frame) : frame.metric[name] ?? '');
  return <table><thead><tr>{names.map((name) => <th key={name}>{columns.renameByName[name]}</th>)}</tr></thead>
    <tbody>{all.map((frame, at) => <tr key={at}>{names.map((name) => <td key={name}>{cell(frame, name)}</td>)}</tr>)}
    </tbody></table>;
}

function Lines({ panel, width, height }) {
  const all = frames(panel);
  return all.length
    ? <TimeSeries frames={all} width={width} height={height} timeRange={range} timeZone="utc" legend={panel.options.legend} />
    : <Nothing />;
}

const Text = ({ panel }) => <div className="markdown-html"
  dangerouslySetInnerHTML={{ __html: renderTextPanelMarkdown(panel.options.content) }} />;

const KINDS = { stat: Numbers, bargauge: Bars, table: Rows, timeseries: Lines, text: Text };

function Panel({ panel }) {
  const at = place(panel.gridPos);
  if (panel.type === 'row') return <h2 style={{ ...at, position: 'absolute' }}>{panel.title}</h2>;
  const Kind = KINDS[panel.type];
  return <div style={{ ...at, position: 'absolute' }}>
    <PanelChrome title={panel.title} description={panel.description} width={at.width} height={at.height}>
      {(width, height) => <Kind panel={panel} width={width} height={height} />}
    </PanelChrome>
  </div>;
}

// Grafana's own options of lines are under `custom`; what is not set there has these defaults.
for (const panel of board.panels) {
  if (panel.type !== 'timeseries') continue;
  panel.fieldConfig.defaults.custom = {
    drawStyle: 'line', lineInterpolation: 'linear', spanNulls: false, axisPlacement: 'auto',
    scaleDistribution: { type: 'linear' }, ...panel.fieldConfig.defaults.custom,
  };
}
await document.fonts.load('12px Inter');
createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <h1>{board.title}</h1>
    {board.panels.map((panel) => <Panel key={panel.id} panel={panel} />)}
  </ThemeContext.Provider>,
);
