// What a dashboard of ours may be: Grafana's own types, with the options of each kind of panel.
import type * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as text from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type { Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel, VariableModel } from '@grafana/schema';

// JSON has an enum's words, which TypeScript does not take for the enum's members.
type Plain<T> = T extends string
  ? `${T}`
  : T extends object
    ? { [K in keyof T]: Plain<T[K]> }
    : T;

type Of<Kind extends string, Options, Custom = Record<string, never>> =
  Omit<Panel, 'type' | 'options' | 'fieldConfig'> & {
    type: Kind;
    options: Options;
    fieldConfig?: Omit<FieldConfigSource, 'defaults'> & {
      defaults: Omit<FieldConfig, 'custom'> & { custom?: Custom };
    };
  };

// What Grafana takes beyond its types: a table's footer as Grafana 12 had it, no kind of cells (there
// is a default), a query as the list of variables shows it, and the settings of intervals for any.
type Footer = { footer?: { show: false; reducer: []; countRows: false } };
type Cells = Omit<table.FieldConfig, 'cellOptions'> & Partial<table.FieldConfig>;
type Variable = VariableModel & { definition?: string; auto?: false; auto_count?: number; auto_min?: string };

type Visible =
  | Of<'bargauge', bargauge.Options>
  | Of<'stat', stat.Options>
  | Of<'table', table.Options & Footer, Cells>
  | Of<'text', text.Options>
  | Of<'timeseries', timeseries.Options, timeseries.FieldConfig>;

type Row = Omit<RowPanel, 'panels'> & { panels: Visible[] };

export type Board = Plain<
  Omit<Dashboard, 'panels' | 'templating'> & {
    panels: Array<Visible | Row>;
    templating: { list: Variable[] };
  }
>;
