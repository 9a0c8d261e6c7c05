//! Pictures of what was measured.

use std::{collections::BTreeMap, error::Error, fs, ops::Range, path::Path};

use plotters::prelude::*;
use serde_json::Value;

type Drawn = Result<(), Box<dyn Error>>;

const SIZE: (u32, u32) = (860, 380);
const FONT: (&str, i32) = ("sans-serif", 15);
const COLOURS: [RGBColor; 5] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167), RGBColor(90, 90, 90)];

/// Draws all that the lines of runs have, one picture for each kind.
pub(crate) fn all(runs: &Path, directory: &Path) -> Drawn {
    let text = fs::read_to_string(runs)?;
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    fs::create_dir_all(directory)?;
    drains(&lines, &directory.join("drains.svg"))?;
    latencies(&lines, &directory.join("latency.svg"))?;
    memory(&lines, &directory.join("memory.svg"))
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_default()
}

/// Least, median and most.
fn spread(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let middle = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
    [values[0], middle, values[values.len() - 1]]
}

/// The time of each program divided by that of `pg_recvlogical` in the same round.
fn drains(lines: &[Value], path: &Path) -> Drawn {
    const FIRST: &str = "pg_recvlogical";
    let drains: Vec<_> = lines.iter().filter(|line| line["walsender_cpu_seconds"].is_f64()).collect();
    let mut bars: Vec<((&str, &str), Vec<f64>)> = Vec::new();
    for line in drains.iter().filter(|line| text(line, "program") != FIRST) {
        let same = |other: &&&Value| {
            text(other, "program") == FIRST && ["workload", "round"].iter().all(|key| other[*key] == line[*key])
        };
        let Some(first) = drains.iter().find(same) else { continue };
        let ratio = number(line, "seconds") / number(first, "seconds");
        let name = (text(line, "workload"), text(line, "program"));
        match bars.iter_mut().find(|(known, _)| *known == name) {
            Some((_, ratios)) => ratios.push(ratio),
            None => bars.push((name, vec![ratio])),
        }
    }
    if bars.is_empty() {
        return Ok(());
    }
    let most = bars.iter().flat_map(|(_, ratios)| ratios).fold(1.0_f64, |most, ratio| most.max(*ratio));
    let height = 90 + 34 * u32::try_from(bars.len())?;
    let root = SVGBackend::new(path, (SIZE.0, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let count = i32::try_from(bars.len())?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Time to drain, pg_recvlogical to /dev/null = 1 (median, least to most)", FONT)
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(150)
        .build_cartesian_2d(0.0..most * 1.1, (0..count).into_segmented())?;
    let name = |place: &SegmentValue<i32>| match place {
        SegmentValue::CenterOf(place) | SegmentValue::Exact(place) => {
            let bar = usize::try_from(count - 1 - place).ok().and_then(|place| bars.get(place));
            bar.map_or(String::new(), |((workload, program), _)| format!("{workload}, {program}"))
        }
        SegmentValue::Last => String::new(),
    };
    chart.configure_mesh().disable_y_mesh().y_labels(bars.len()).y_label_formatter(&name).label_style(FONT).draw()?;
    for (place, ((_, program), ratios)) in bars.iter().enumerate() {
        let [least, median, most] = spread(&mut ratios.clone());
        let row = count - 1 - i32::try_from(place)?;
        let colour = COLOURS[usize::from(*program == "debezium")];
        let mut bar = Rectangle::new(
            [(0.0, SegmentValue::Exact(row)), (median, SegmentValue::Exact(row + 1))],
            colour.mix(0.75).filled(),
        );
        bar.set_margin(7, 7, 0, 0);
        chart.draw_series([bar])?;
        let line = [(least, SegmentValue::CenterOf(row)), (most, SegmentValue::CenterOf(row))];
        chart.draw_series([PathElement::new(line, BLACK.stroke_width(2))])?;
    }
    let one = [(1.0, SegmentValue::Exact(0)), (1.0, SegmentValue::Last)];
    chart.draw_series([PathElement::new(one, BLACK)])?;
    Ok(root.present()?)
}

/// Half and 99 of 100 rows, at each rate.
fn latencies(lines: &[Value], path: &Path) -> Drawn {
    let mut rates: BTreeMap<u64, [Vec<f64>; 2]> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["workload"] == "latency") {
        let [half, most] = rates.entry(line["rate"].as_u64().unwrap_or_default()).or_default();
        half.push(number(line, "p50_ms"));
        most.push(number(line, "p99_ms"));
    }
    let (Some(first), Some(last)) = (rates.keys().next(), rates.keys().last()) else { return Ok(()) };
    let series = |which: usize| -> Vec<(f64, [f64; 3])> {
        rates.iter().map(|(rate, values)| (*rate as f64, spread(&mut values[which].clone()))).collect()
    };
    let series = [("half of the rows", series(0)), ("99 of 100", series(1))];
    let highest = series[1].1.iter().fold(0.0_f64, |highest, (_, values)| highest.max(values[2]));
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let x = (*first as f64 * 0.8..*last as f64 * 1.2).log_scale();
    let mut chart = ChartBuilder::on(&root)
        .caption("Milliseconds from before the INSERT to a consumer (median, least to most)", FONT)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(x, 0.0..highest * 1.1)?;
    chart.configure_mesh().x_desc("rows a second").y_desc("ms").label_style(FONT).draw()?;
    for ((name, points), colour) in series.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(
                points.iter().map(|(rate, values)| (*rate, values[1])),
                colour.stroke_width(2),
            ))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        let whisker =
            |(rate, [least, _, most]): &(f64, [f64; 3])| PathElement::new([(*rate, *least), (*rate, *most)], colour);
        chart.draw_series(points.iter().map(whisker))?;
    }
    chart.configure_series_labels().label_font(FONT).position(SeriesLabelPosition::UpperLeft).draw()?;
    Ok(root.present()?)
}

/// Resident memory over time, each situation over its own length.
fn memory(lines: &[Value], path: &Path) -> Drawn {
    let situations: Vec<_> = lines.iter().filter(|line| line["workload"] == "memory").collect();
    if situations.is_empty() {
        return Ok(());
    }
    let samples = |line: &Value| -> Vec<(f64, f64)> {
        let all = line["rss_bytes_over_seconds"].as_array().into_iter().flatten();
        let points: Vec<_> =
            all.map(|pair| (pair[0].as_f64().unwrap_or(0.0), pair[1].as_f64().unwrap_or(0.0) / 1_048_576.0)).collect();
        let length = points.last().map_or(1.0, |(seconds, _)| *seconds);
        // More points than the picture is wide mean nothing.
        let every = points.len().div_ceil(400).max(1);
        points
            .chunks(every)
            .map(|chunk| (chunk[0].0 / length * 100.0, chunk.iter().fold(0.0_f64, |most, (_, mib)| most.max(*mib))))
            .collect()
    };
    let highest =
        situations.iter().fold(0.0_f64, |highest, line| highest.max(number(line, "peak_rss_bytes") / 1_048_576.0));
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let y: Range<f64> = 0.0..highest * 1.25;
    let mut chart = ChartBuilder::on(&root)
        .caption("Resident memory, MiB", FONT)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..100.0, y)?;
    chart.configure_mesh().x_desc("% of the run").y_desc("MiB").label_style(FONT).draw()?;
    for (line, colour) in situations.iter().zip(COLOURS.into_iter().cycle()) {
        let points = samples(line);
        let seconds = line["rss_bytes_over_seconds"].as_array().and_then(|all| all.last()?[0].as_f64()).unwrap_or(0.0);
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(format!("{} ({seconds:.0} s)", text(line, "situation")))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .label_font(FONT)
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(root.present()?)
}
