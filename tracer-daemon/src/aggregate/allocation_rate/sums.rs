//! Sums over moments that were chosen at random, and how far they may be from the truth.

use super::Moment;

/// What is known of a moment, by these indices.
pub(super) const ASKING: usize = 0;
pub(super) const BACK: usize = 1;
pub(super) const CALLS: usize = 2;
pub(super) const CPU: usize = 3;
pub(super) const PRICE: usize = 4;
const FIGURES: usize = 5;

/// Factors of a moment's figures.
pub(super) type Factors = [f64; FIGURES];

/// Each moment is as heavy as the time that it stands for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    weight: f64,
    weight_squared: f64,
    sums: Factors,
    /// Sums of the products of each two figures, weighted twice.
    products: [Factors; FIGURES],
}

impl Sums {
    pub(super) fn add(&mut self, moment: &Moment) {
        if moment.length.is_zero() {
            return;
        }
        let weight = 1.0 + moment.before.div_duration_f64(moment.length);
        let figures = [
            moment.hits.asking as f64,
            moment.hits.back as f64,
            moment.calls as f64,
            moment.cpu.as_secs_f64(),
            moment.price.as_secs_f64(),
        ];
        let figures = figures.map(|figure| weight * figure);
        self.weight += weight;
        self.weight_squared += weight * weight;
        for (at, figure) in figures.into_iter().enumerate() {
            self.sums[at] += figure;
            for (product, other) in self.products[at].iter_mut().zip(figures) {
                *product += figure * other;
            }
        }
    }

    /// The sum of one figure.
    pub(super) const fn of(&self, figure: usize) -> f64 {
        self.sums[figure]
    }

    /// The variance of a combination of the sums, if it would be nothing for moments that were all alike. `None`:
    /// too few to tell how much they differ.
    pub(super) fn variance(&self, factors: Factors) -> Option<Variance> {
        // Of moments of unequal weight the heavy ones tell: as many as Kish's effective sample has.
        let number = self.weight * self.weight / self.weight_squared;
        let freedom = number - 1.0;
        let row = |row: &Factors| -> f64 { row.iter().zip(factors).map(|(a, b)| a * b).sum() };
        let squares: f64 =
            self.products.iter().zip(factors).map(|(one, factor)| factor * row(one)).sum();
        (freedom >= 0.9).then(|| Variance { squares: number / freedom * squares.max(0.0), freedom })
    }
}

/// A variance, and of how many degrees of freedom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variance {
    squares: f64,
    freedom: f64,
}

impl Variance {
    /// That of so many times the figure.
    pub(super) fn times(self, factor: f64) -> Self {
        Self { squares: factor * factor * self.squares, ..self }
    }

    /// That of a sum of independent figures, with as much freedom as Welch and Satterthwaite's
    /// approximation gives it.
    pub(super) fn of_sum(all: &[Self]) -> Self {
        let squares: f64 = all.iter().map(|one| one.squares).sum();
        let parts: f64 = all.iter().map(|one| one.squares * one.squares / one.freedom).sum();
        let freedom = if parts > 0.0 { squares * squares / parts } else { f64::INFINITY };
        Self { squares, freedom }
    }

    /// Half of the interval that holds the truth with 95 %.
    pub(super) fn half_interval(self) -> f64 {
        student(self.freedom) * self.squares.sqrt()
    }
}

/// Student's t for 95 % and so many degrees of freedom; above the table by its expansion for large
/// numbers (Abramowitz and Stegun 26.7.5).
fn student(freedom: f64) -> f64 {
    const FEW: [f64; 6] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447];
    let few = FEW.get((freedom.round() as usize).saturating_sub(1));
    few.copied().unwrap_or(1.960 + 2.3723 / freedom + 2.8225 / freedom.powi(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn student_is_that_of_the_tables() {
        for (freedom, t) in
            [(1.0, 12.706), (6.2, 2.447), (7.0, 2.365), (10.0, 2.228), (30.0, 2.042)]
        {
            assert!((student(freedom) - t).abs() < 0.01, "{freedom}: {}", student(freedom));
        }
        assert!((student(f64::INFINITY) - 1.96).abs() < 1e-9);
    }

    #[test]
    fn a_sum_has_the_freedom_of_what_varies() {
        let [few, many] =
            [(4.0, 2.0), (0.0, 100.0)].map(|(squares, freedom)| Variance { squares, freedom });
        assert!((Variance::of_sum(&[few, many]).freedom - 2.0).abs() < 1e-9);
        let both = Variance::of_sum(&[few, few]);
        assert!((both.freedom - 4.0).abs() < 1e-9 && (both.squares - 8.0).abs() < 1e-9);
    }
}
