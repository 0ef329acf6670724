-- Nothing to do: writes wait for one another anyway, and each count has one slot.
select 1;
